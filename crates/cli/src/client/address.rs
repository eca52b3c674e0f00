//! Where a broker listens, as users write it: `host:port`, with brackets around an IPv6 address.

use std::fmt;
use std::net::{IpAddr, ToSocketAddrs};

use super::Error;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Reads one address. A protocol in front (`PLAINTEXT://`) is allowed and ignored, as Kafka does.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Address(text.to_owned());
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port: port.parse().map_err(|_| wrong())? })
    }

    /// Reads a bootstrap list: addresses with commas between them.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, Error> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let addresses = parts.map(Self::parse).collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() { Err(Error::Address(text.to_owned())) } else { Ok(addresses) }
    }

    /// `name/address:port`, without the name where there is none.
    pub fn as_java_shows_it(&self) -> String {
        let found = (self.host.as_str(), self.port).to_socket_addrs().ok().and_then(|mut found| found.next());
        match found {
            Some(found) if self.host.parse::<IpAddr>().is_ok() => format!("/{found}"),
            Some(found) => format!("{}/{found}", self.host),
            None => format!("{}/<unresolved>:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: &Expect) {
        let shown = match Address::parse_list(text) {
            Ok(list) => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn a_bootstrap_list_is_read() {
        check("localhost:9092", &expect!["localhost:9092"]);
        check("a:1, b:2,", &expect!["a:1 b:2"]);
        check("PLAINTEXT://[::1]:9092", &expect!["[::1]:9092"]);
        check("localhost", &expect!["'localhost' is no address of a broker: give host:port, such as localhost:9092"]);
        check("a:70000", &expect!["'a:70000' is no address of a broker: give host:port, such as localhost:9092"]);
        check("", &expect!["'' is no address of a broker: give host:port, such as localhost:9092"]);
    }
}
