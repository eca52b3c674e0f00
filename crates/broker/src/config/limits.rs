//! `max.connections.per.ip.overrides`: limits on connections for single addresses, as `host:count,...`.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};

use super::error::ConfigError;
use super::written::Written;

const KEY: &str = "max.connections.per.ip.overrides";

/// How many connections a host may have: an address, or a name, which then stands for all its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLimit {
    host: String,
    most: usize,
}

/// What is set for hosts, and the addresses of those that are named, as far as they were found.
#[derive(Clone, Debug, Default)]
pub struct HostLimits {
    limits: Vec<HostLimit>,
    addresses: BTreeMap<String, Vec<IpAddr>>,
}

impl HostLimits {
    /// What is written; an address may be in brackets. The addresses of all names are looked up, which may take long.
    ///
    /// # Errors
    /// An entry is not of that form, or nobody knows its name.
    pub fn looked_up(written: &Written) -> Result<Self, ConfigError> {
        let mut this = Self::default();
        this.replace(written)?;
        for host in this.named() {
            let found = (&*host, 0).to_socket_addrs();
            let found = found.map_err(|error| written.error(KEY, format!("{host} cannot be resolved: {error}")))?;
            let addresses = found.map(|address| address.ip()).collect();
            this.found(&host, addresses);
        }
        Ok(this)
    }

    /// Takes over what is written now. Names keep the addresses that were found before.
    ///
    /// # Errors
    /// An entry is not of that form; all stays as it is.
    pub fn replace(&mut self, written: &Written) -> Result<(), ConfigError> {
        self.limits = read(written)?;
        let limits = &self.limits;
        self.addresses.retain(|host, _| limits.iter().any(|limit| limit.host == *host));
        Ok(())
    }

    /// The hosts that are no addresses.
    pub fn named(&self) -> Vec<String> {
        let named = self.limits.iter().filter(|limit| limit.host.parse::<IpAddr>().is_err());
        named.map(|limit| limit.host.clone()).collect()
    }

    /// Notes the addresses of a host, if there still is a limit for it.
    pub fn found(&mut self, host: &str, addresses: Vec<IpAddr>) {
        if self.limits.iter().any(|limit| limit.host == host) {
            self.addresses.insert(host.to_owned(), addresses);
        }
    }

    /// The limits of all addresses that are known. Of several for one address, the last one counts.
    pub fn by_address(&self) -> BTreeMap<IpAddr, usize> {
        let mut limits = BTreeMap::new();
        for HostLimit { host, most } in &self.limits {
            let addresses = match host.parse() {
                Ok(address) => vec![address],
                Err(_) => self.addresses.get(host).cloned().unwrap_or_default(),
            };
            limits.extend(addresses.iter().map(|address| (address.to_canonical(), *most)));
        }
        limits
    }
}

fn read(written: &Written) -> Result<Vec<HostLimit>, ConfigError> {
    let text = written.text(KEY);
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let limit = |entry: &str| {
        let pair =
            entry.rsplit_once(':').and_then(|(host, count)| Some((host.trim(), count.trim().parse::<u32>().ok()?)));
        let Some((host, count)) = pair else {
            return Err(written.error(KEY, format!("{entry} is not of the form host:count")));
        };
        let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        Ok(HostLimit { host: host.to_owned(), most: usize::try_from(count).unwrap_or(usize::MAX) })
    };
    entries.map(limit).collect()
}
