//! `key=value` settings of tools, from a file and from the command line, and those of them that every tool knows.
//!
//! A property that a tool does not know is named on stderr, as Kafka's clients do, and then ignored.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use ottla_broker::config::properties::{decode, parse};

use crate::admin_properties::{self, NoClient};
use crate::client::Options;

/// Why a file of properties is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// There is none at this path.
    Missing(String),
    /// It cannot be read, or holds something else.
    Wrong(String),
}

impl Unreadable {
    /// As Java names it with its class, where it has one.
    pub fn exception(&self) -> String {
        match self {
            Self::Missing(path) => format!("java.nio.file.NoSuchFileException: {path}"),
            Self::Wrong(message) => message.clone(),
        }
    }
}

/// What Kafka's tools say of it.
impl From<Unreadable> for String {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Missing(text) | Unreadable::Wrong(text) => text,
        }
    }
}

/// Properties by name. The later ones win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Those of a file, if there is one, then those of the command line.
    pub fn gather(file: Option<&Path>, pairs: &[String]) -> Result<Self, Unreadable> {
        let mut properties = Self::default();
        if let Some(path) = file {
            let shown = path.display();
            let bytes = std::fs::read(path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Unreadable::Missing(shown.to_string()),
                _ => Unreadable::Wrong(format!("cannot read {shown}: {error}")),
            })?;
            let entries = parse(&decode(bytes))
                .map_err(|error| Unreadable::Wrong(format!("{shown}, line {}: {error}", error.line)))?;
            properties.0.extend(entries.into_iter().map(|entry| (entry.key, entry.value)));
        }
        for pair in pairs {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            properties.0.insert(key.to_owned(), value.to_owned());
        }
        Ok(properties)
    }

    /// All of them, by name.
    pub fn into_pairs(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter()
    }

    /// Takes a property out.
    pub fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// Takes a number out.
    pub fn take_number<T: std::str::FromStr>(&mut self, key: &str) -> Result<Option<T>, String> {
        let Some(text) = self.take(key) else { return Ok(None) };
        let number =
            text.trim().parse().map_err(|_| format!("Invalid value {text} for configuration {key}: Not a number"));
        number.map(Some)
    }

    /// Takes a boolean out. As in Kafka's tools, all that is not `true` is false.
    pub fn take_flag(&mut self, key: &str) -> Option<bool> {
        self.take(key).map(|text| text.trim().eq_ignore_ascii_case("true"))
    }

    /// Takes out what says how to connect.
    pub fn take_connection_options(&mut self, client_id: &str) -> Result<Options, String> {
        let mut options = Options { client_id: client_id.to_owned(), ..Options::default() };
        if let Some(client_id) = self.take("client.id") {
            options.client_id = client_id;
        }
        if let Some(timeout_ms) = self.take_number("request.timeout.ms")? {
            options.request_timeout = Duration::from_millis(timeout_ms);
        }
        if let Some(timeout_ms) = self.take_number("socket.connection.setup.timeout.ms")? {
            options.connect_timeout = Duration::from_millis(timeout_ms);
        }
        match self.take("security.protocol") {
            Some(protocol) if protocol != "PLAINTEXT" => {
                return Err(format!("security.protocol={protocol} is not there yet: only PLAINTEXT is"));
            }
            _ => {}
        }
        self.take("bootstrap.servers");
        Ok(options)
    }

    /// Takes out what says how a tool of administrators connects. What nobody knows is named on stderr.
    pub fn take_admin_options(mut self, client_id: &str) -> Result<Options, NoClient> {
        admin_properties::check(&self.0)?;
        let options = self.take_connection_options(client_id).map_err(NoClient::Refused)?;
        self.0.retain(|key, _| !admin_properties::is_known(key));
        self.warn_of_the_rest();
        Ok(options)
    }

    /// Names on stderr what nobody took.
    pub fn warn_of_the_rest(&self) {
        for key in self.0.keys() {
            eprintln!("WARN The property '{key}' has no effect here.");
        }
    }
}

/// Prints a line on stdout. Nobody may read it, which is no failure of ours.
pub fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "client.id=file\nrequest.timeout.ms = 5\n# none=1\n").unwrap();
        let mut properties =
            Properties::gather(Some(file.path()), &["client.id=a=b".to_owned(), "flag".to_owned()]).unwrap();
        let options = properties.take_connection_options("tool").unwrap();
        assert_eq!((options.client_id.as_str(), options.request_timeout.as_millis()), ("a=b", 5));
        assert_eq!(properties, Properties(BTreeMap::from([("flag".to_owned(), String::new())])));
    }

    #[test]
    fn what_is_not_there_yet_is_refused() {
        let mut properties = Properties::gather(None, &["security.protocol=SSL".to_owned()]).unwrap();
        let refused = properties.take_connection_options("tool").unwrap_err();
        assert_eq!(refused, "security.protocol=SSL is not there yet: only PLAINTEXT is");
        let mut properties = Properties::gather(None, &["n=x".to_owned()]).unwrap();
        assert_eq!(
            properties.take_number::<u32>("n"),
            Err("Invalid value x for configuration n: Not a number".to_owned())
        );
    }
}
