//! `max.connections.per.ip.overrides`: limits on connections for single addresses, as `host:count,...`.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};

use super::error::ConfigError;
use super::written::Written;

const KEY: &str = "max.connections.per.ip.overrides";

/// Reads it; a host may be an address, in brackets or not, or a name, which then stands for all its addresses.
///
/// # Errors
/// An entry is not of that form, or nobody knows its name.
pub fn per_ip_overrides(written: &Written) -> Result<BTreeMap<IpAddr, usize>, ConfigError> {
    let mut limits = BTreeMap::new();
    for entry in written.text(KEY).split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let pair =
            entry.rsplit_once(':').and_then(|(host, count)| Some((host.trim(), count.trim().parse::<u32>().ok()?)));
        let Some((host, count)) = pair else {
            return Err(written.error(KEY, format!("{entry} is not of the form host:count")));
        };
        let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        let addresses = (host, 0).to_socket_addrs();
        let addresses = addresses.map_err(|error| written.error(KEY, format!("{host} cannot be resolved: {error}")))?;
        for address in addresses {
            limits.insert(address.ip().to_canonical(), usize::try_from(count).unwrap_or(usize::MAX));
        }
    }
    Ok(limits)
}
