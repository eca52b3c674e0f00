//! Listeners: where the broker listens, how each is secured, and where clients are told to connect.
//!
//! ```text
//!   listeners                      NAME://host:port,...     what is bound; no host: everywhere; port 0: a free one
//!   listener.security.protocol.map NAME:PROTOCOL,...        what is spoken there
//!   controller.listener.names      NAME,...                 those that controllers answer on; for tools, not for clients
//!   advertised.listeners           NAME://host:port,...     what clients are told
//! ```
//!
//! Names are compared in upper case. This version speaks plaintext only: other protocols are refused where a listener
//! uses them, not where the map merely names them.
//!
//! An advertised listener without a host is reached by the name of this one; so is one on 0.0.0.0 that advertised.listeners
//! leaves out, as the controllers' is in most configurations.
//!
//! Differs from Kafka: a node that is its own cluster needs no controller listener; a listener that
//! advertised.listeners leaves out advertises itself.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, ToSocketAddrs};

use super::error::ConfigError;
use super::written::Written;

/// Every interface of IPv4. Nobody can connect to it.
const EVERYWHERE: &str = "0.0.0.0";

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// Encrypted.
    Ssl,
    /// Authenticated.
    SaslPlaintext,
    /// Encrypted and authenticated.
    SaslSsl,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, in upper case.
    pub name: String,
    /// What it binds: a name or an address, without brackets; empty for every interface.
    pub host: String,
    /// The port it binds; 0 for a free one.
    pub port: u16,
    /// What is spoken there.
    pub protocol: SecurityProtocol,
    /// The host that clients are told.
    pub advertised_host: String,
    /// The port that clients are told; 0 for the one that is bound.
    pub advertised_port: u16,
}

/// Whom a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerType {
    /// Clients and brokers.
    Broker,
    /// Controllers, and tools that are told of controllers (`--bootstrap-controller`, KIP-919).
    Controller,
}

/// All listeners of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// Those for clients and brokers.
    pub broker: Vec<Listener>,
    /// Those for controllers.
    pub controller: Vec<Listener>,
    /// The name of the one that brokers reach each other on.
    pub inter_broker: String,
}

/// `NAME://host:port`.
struct Endpoint {
    name: String,
    host: String,
    port: u16,
}

impl Listeners {
    /// Each, with whom it is for.
    pub fn all_mut(&mut self) -> impl Iterator<Item = (&mut Listener, ListenerType)> {
        let brokers = self.broker.iter_mut().map(|listener| (listener, ListenerType::Broker));
        brokers.chain(self.controller.iter_mut().map(|listener| (listener, ListenerType::Controller)))
    }
}

impl SecurityProtocol {
    /// Reads Kafka's name of it.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => Some(Self::Plaintext),
            "SSL" => Some(Self::Ssl),
            "SASL_PLAINTEXT" => Some(Self::SaslPlaintext),
            "SASL_SSL" => Some(Self::SaslSsl),
            _ => None,
        }
    }

    /// The number in metadata records.
    pub fn id(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        })
    }
}

/// Reads all listeners. `host_name` gives the name that a listener on every interface is reached by.
///
/// # Errors
/// They are not written as they should be, do not go together, or need what this version does not have.
pub fn read(written: &Written, host_name: &dyn Fn() -> String) -> Result<Listeners, ConfigError> {
    let bound = endpoints(written, "listeners")?;
    check_ports(written, &bound)?;
    let controller_names = controller_names(written, &bound)?;
    let protocols = protocols(written, &controller_names)?;
    let advertised = advertised(written, &bound)?;
    let mut listeners = Listeners { broker: Vec::new(), controller: Vec::new(), inter_broker: String::new() };
    for endpoint in bound {
        let Some(&protocol) = protocols.get(&endpoint.name) else {
            let reason = format!("listener.security.protocol.map has no protocol for the listener {}", endpoint.name);
            return Err(written.error("listeners", reason));
        };
        if protocol != SecurityProtocol::Plaintext {
            let reason = format!(
                "the listener {} speaks {protocol}; this version speaks PLAINTEXT only, TLS and SASL come later",
                endpoint.name
            );
            return Err(written.error("listeners", reason));
        }
        let for_controllers = controller_names.contains(&endpoint.name);
        let (told, port) = match advertised.get(&endpoint.name) {
            Some(told) => (told.host.as_str(), told.port),
            None if endpoint.host == EVERYWHERE && advertised.is_empty() && !for_controllers => {
                let name = &endpoint.name;
                let reason = format!("clients cannot connect to {EVERYWHERE}: set advertised.listeners for {name}");
                return Err(written.error("listeners", reason));
            }
            None => (endpoint.host.as_str(), endpoint.port),
        };
        let advertised_host = if told.is_empty() || told == EVERYWHERE { host_name() } else { told.to_owned() };
        let advertised_port = port;
        let Endpoint { name, host, port } = endpoint;
        let listener = Listener { name, host, port, protocol, advertised_host, advertised_port };
        if for_controllers { &mut listeners.controller } else { &mut listeners.broker }.push(listener);
    }
    if listeners.broker.is_empty() {
        return Err(written.error("listeners", "there is no listener for clients, only for controllers"));
    }
    if !advertised.is_empty() && listeners.broker.iter().all(|listener| !advertised.contains_key(&listener.name)) {
        return Err(written.error("advertised.listeners", "there is no listener for clients, only for controllers"));
    }
    listeners.inter_broker = inter_broker(written, &listeners.broker)?;
    Ok(listeners)
}

/// The name of this host if it can be looked up, else `localhost`.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let known = !name.is_empty() && (name.as_str(), 0).to_socket_addrs().is_ok_and(|mut found| found.next().is_some());
    if known { name } else { "localhost".to_owned() }
}

/// The endpoints that `key` lists; each name once.
fn endpoints(written: &Written, key: &str) -> Result<Vec<Endpoint>, ConfigError> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for text in written.list(key) {
        let reason = || match has_too_large_a_port(&text) {
            true => format!("the port of {text} is too large: at most {}", u16::MAX),
            false => format!("{text} is not of the form NAME://host:port"),
        };
        let endpoint = endpoint(&text).ok_or_else(|| written.error(key, reason()))?;
        if endpoints.iter().any(|other| other.name == endpoint.name) {
            return Err(written.error(key, format!("the listener {} is there twice", endpoint.name)));
        }
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}

fn has_too_large_a_port(text: &str) -> bool {
    let Some((_, port)) = text.rsplit_once(':') else { return false };
    !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_err()
}

fn endpoint(text: &str) -> Option<Endpoint> {
    let (name, address) = text.split_once("://")?;
    let (host, port) = host_and_port(address)?;
    (!name.is_empty()).then(|| Endpoint { name: name.to_uppercase(), host: host.to_owned(), port })
}

/// `host:port`, `[address]:port` or `:port`.
pub(super) fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').map_or(Some(host), |inner| inner.strip_suffix(']'))?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-%._:".contains(c);
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (digits && host.chars().all(allowed)).then_some(())?;
    Some((host, port.parse().ok()?))
}

/// Two listeners may share a port only if one has an IPv4 address and the other an IPv6 address.
fn check_ports(written: &Written, bound: &[Endpoint]) -> Result<(), ConfigError> {
    for (index, endpoint) in bound.iter().enumerate().filter(|(_, endpoint)| endpoint.port != 0) {
        for other in bound[..index].iter().filter(|other| other.port == endpoint.port) {
            let both: [Option<IpAddr>; 2] = [endpoint.host.parse().ok(), other.host.parse().ok()];
            let apart = matches!(both, [Some(a), Some(b)] if a.is_ipv4() != b.is_ipv4());
            if !apart {
                let reason = format!("{} and {} have the same port {}", other.name, endpoint.name, endpoint.port);
                return Err(written.error("listeners", reason));
            }
        }
    }
    Ok(())
}

fn controller_names(written: &Written, bound: &[Endpoint]) -> Result<Vec<String>, ConfigError> {
    let names: Vec<String> = written.list("controller.listener.names").iter().map(|name| name.to_uppercase()).collect();
    match names.iter().find(|name| bound.iter().all(|endpoint| endpoint.name != **name)) {
        Some(missing) => {
            let reason = format!("listeners has no {missing}, which a node that is a controller must listen on");
            Err(written.error("controller.listener.names", reason))
        }
        None => Ok(names),
    }
}

/// What each listener speaks. A controller's listener needs no entry as long as nobody wrote the map.
fn protocols(written: &Written, controllers: &[String]) -> Result<BTreeMap<String, SecurityProtocol>, ConfigError> {
    const KEY: &str = "listener.security.protocol.map";
    let mut protocols = BTreeMap::new();
    for entry in written.text(KEY).split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let pair = entry.rsplit_once(':');
        let Some((name, protocol)) =
            pair.and_then(|(name, p)| Some((name.trim(), SecurityProtocol::from_name(p.trim())?)))
        else {
            let reason =
                format!("{entry} is not of the form NAME:PROTOCOL with PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL");
            return Err(written.error(KEY, reason));
        };
        if protocols.insert(name.to_uppercase(), protocol).is_some() {
            return Err(written.error(KEY, format!("the listener {name} is there twice")));
        }
    }
    if written.get(KEY).is_none() {
        for name in controllers {
            protocols.entry(name.clone()).or_insert(SecurityProtocol::Plaintext);
        }
    }
    Ok(protocols)
}

fn advertised(written: &Written, bound: &[Endpoint]) -> Result<BTreeMap<String, Endpoint>, ConfigError> {
    const KEY: &str = "advertised.listeners";
    let mut advertised = BTreeMap::new();
    for endpoint in endpoints(written, KEY)? {
        if bound.iter().all(|listener| listener.name != endpoint.name) {
            return Err(written.error(KEY, format!("listeners has no {}", endpoint.name)));
        }
        if endpoint.host == EVERYWHERE {
            let reason = format!("{} needs a host that clients can connect to, not {EVERYWHERE}", endpoint.name);
            return Err(written.error(KEY, reason));
        }
        advertised.insert(endpoint.name.clone(), endpoint);
    }
    Ok(advertised)
}

fn inter_broker(written: &Written, broker: &[Listener]) -> Result<String, ConfigError> {
    let (by_name, by_protocol) = ("inter.broker.listener.name", "security.inter.broker.protocol");
    let named = written.get(by_name).is_some();
    if named && written.get(by_protocol).is_some() {
        return Err(written.error(by_protocol, format!("set this or {by_name}, not both")));
    }
    let key = if named { by_name } else { by_protocol };
    let name = written.text(key).to_uppercase();
    if broker.iter().all(|listener| listener.name != name) {
        let at = if written.get(key).is_some() { key } else { "listeners" };
        return Err(written.error(at, format!("there is no listener {name} for brokers; {by_name} may name another")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each listener is reached by, on a host called `here`.
    fn told(text: &str) -> Result<String, String> {
        let written = Written::from_text("server.properties", text).unwrap();
        let listeners = read(&written, &|| "here".to_owned()).map_err(|error| error.to_string())?;
        let all = listeners.broker.iter().chain(&listeners.controller);
        let told = |it: &Listener| format!("{} {}:{}", it.name, it.advertised_host, it.advertised_port);
        Ok(all.map(told).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn the_configurations_of_containers_are_understood() {
        let both = "controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://0.0.0.0:1,CONTROLLER://0.0.0.0:2\n";
        let with = |advertised: &str| told(&format!("{both}advertised.listeners={advertised}\n"));
        assert_eq!(with("PLAINTEXT://outside:9").as_deref(), Ok("PLAINTEXT outside:9, CONTROLLER here:2"));
        let of_both = "PLAINTEXT://outside:9,CONTROLLER://inside:8";
        assert_eq!(with(of_both).as_deref(), Ok("PLAINTEXT outside:9, CONTROLLER inside:8"));
        assert_eq!(with("PLAINTEXT://:9").as_deref(), Ok("PLAINTEXT here:9, CONTROLLER here:2"));
        assert!(with("PLAINTEXT://outside:9,CONTROLLER://0.0.0.0:2").is_err());
        assert!(told(both).unwrap_err().contains("set advertised.listeners for PLAINTEXT"));
        let wide = "controller.listener.names=C\nlisteners=PLAINTEXT://:1,C://:2\n";
        assert_eq!(told(wide).as_deref(), Ok("PLAINTEXT here:1, C here:2"));
        let several = "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,IN:PLAINTEXT\n\
                       listeners=PLAINTEXT://0.0.0.0:1,IN://0.0.0.0:2\nadvertised.listeners=PLAINTEXT://outside:1\n";
        assert_eq!(told(several).as_deref(), Ok("PLAINTEXT outside:1, IN here:2"));
    }
}
