//! The flags of the tool, what they may be combined with, and the entities and settings they name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::ToSocketAddrs;
use std::path::PathBuf;

use clap::Args;

use super::{Failure, TYPES};
use crate::client::Endpoint;
use crate::connection::Connection;
use crate::properties::Properties;

/// What to do with the settings of what.
#[derive(Args, Clone, Debug, Default)]
pub struct Arguments {
    #[command(flatten)]
    pub connection: Connection,
    /// The controllers to connect to instead: HOST:PORT, with commas between them.
    #[arg(long, value_name = "SERVERS")]
    pub bootstrap_controller: Option<String>,
    /// Change settings.
    #[arg(long)]
    pub alter: bool,
    /// Show settings.
    #[arg(long)]
    pub describe: bool,
    /// With --describe: all settings, not only those that were set for the entity.
    #[arg(long)]
    pub all: bool,

    /// The type of the entity: topics, brokers, broker-loggers, clients, users, ips, groups, client-metrics. Users and clients
    /// may be given together.
    #[arg(long, value_name = "TYPE")]
    entity_type: Vec<String>,
    /// The name of the entity of the type in front of it.
    #[arg(long, value_name = "NAME")]
    entity_name: Vec<String>,
    /// Instead of a name: what counts where nothing was set for a client, user, broker or IP address.
    #[arg(long, action = clap::ArgAction::Count)]
    entity_default: u8,
    /// The topic.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// The id of the client.
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// What counts for all clients.
    #[arg(long)]
    client_defaults: bool,
    /// The name of the user.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// What counts for all users.
    #[arg(long)]
    user_defaults: bool,
    /// The id of the broker.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    broker: Option<String>,
    /// What counts for all brokers.
    #[arg(long)]
    broker_defaults: bool,
    /// The id of the broker whose loggers are meant.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    broker_logger: Option<String>,
    /// The IP address.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// What counts for all IP addresses.
    #[arg(long)]
    ip_defaults: bool,
    /// The group.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// The subscription to metrics of clients.
    #[arg(long, value_name = "NAME")]
    client_metrics: Option<String>,

    /// With --alter: settings to set, with brackets around values that have commas: k1=v1,k2=[v1,v2]
    #[arg(long, value_name = "SETTINGS")]
    add_config: Option<String>,
    /// With --alter: a file of settings to set.
    #[arg(long, value_name = "FILE")]
    add_config_file: Option<PathBuf>,
    /// With --alter: settings to reset, with commas between them.
    #[arg(long, value_name = "NAMES")]
    delete_config: Vec<String>,
}

/// What is meant: types, and names for some of them. The empty name is for the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entities {
    /// One type, or users and clients.
    pub types: Vec<String>,
    /// Their names, in the same order.
    pub names: Vec<String>,
}

/// New settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// To set.
    pub set: BTreeMap<String, String>,
    /// To reset.
    pub reset: Vec<String>,
}

impl Arguments {
    /// What is meant, where the arguments fit each other. `words` are the words of the command line: the order of names and
    /// defaults in it decides to which type they belong.
    pub fn check(&self, words: &[String]) -> Result<Entities, Failure> {
        let usage = |message: &str| Err(Failure::Usage(message.to_owned()));
        let illegal = |message: String| Err(Failure::Illegal(message));
        if self.alter == self.describe {
            return usage("Command must include exactly one action: --describe, --alter");
        }
        if self.describe && self.add_config.is_some() {
            return usage("Option \"[describe]\" can't be used with option \"[add-config]\"");
        }
        if self.describe && !self.delete_config.is_empty() {
            return usage("Option \"[describe]\" can't be used with option \"[delete-config]\"");
        }
        let entities = self.entities(words);
        let types = &entities.types;
        let distinct: BTreeSet<_> = types.iter().collect();
        if distinct.len() != types.len() {
            let repeated: Vec<_> = (0..types.len())
                .filter(|index| types[..*index].contains(&types[*index]))
                .map(|index| &*types[index])
                .collect();
            return illegal(format!("Duplicate entity type(s) specified: {}", repeated.join(",")));
        }
        self.endpoint()?;
        if let Some(unknown) = types.iter().find(|name| !TYPES.contains(&name.as_str())) {
            return illegal(format!(
                "Invalid entity type {unknown}, the entity type must be one of {} with a --bootstrap-server or \
                 --bootstrap-controller argument",
                TYPES.join(", ")
            ));
        }
        if types.is_empty() {
            return illegal("At least one entity type must be specified".to_owned());
        }
        if types.len() > 1 && !types.iter().all(|name| name == "users" || name == "clients") {
            return illegal("Only 'users' and 'clients' entity types may be specified together".to_owned());
        }
        let general = !self.entity_type.is_empty() || !self.entity_name.is_empty() || self.entity_default > 0;
        if general && self.flags().any(|(given, _)| given.is_some()) {
            return illegal(
                "--entity-{type,name,default} should not be used in conjunction with specific entity flags".to_owned(),
            );
        }
        self.check_names(&entities)?;
        self.check_action(&entities)?;
        Ok(entities)
    }

    /// Whom to connect to.
    pub fn endpoint(&self) -> Result<(Endpoint, &str), Failure> {
        let illegal = |message: &str| Err(Failure::Illegal(message.to_owned()));
        match (self.connection.bootstrap_server.as_deref(), self.bootstrap_controller.as_deref()) {
            (None, None) => illegal("Either --bootstrap-server or --bootstrap-controller must be specified."),
            (Some(_), Some(_)) => illegal("Only one of --bootstrap-server or --bootstrap-controller can be specified"),
            (Some(brokers), None) => Ok((Endpoint::Brokers, brokers)),
            (None, Some(controllers)) => Ok((Endpoint::Controllers, controllers)),
        }
    }

    fn check_names(&self, entities: &Entities) -> Result<(), Failure> {
        let first_type = &entities.types[0];
        for name in entities.names.iter().filter(|name| !name.is_empty()) {
            match first_type.as_str() {
                "brokers" | "broker-loggers" if name.parse::<i32>().is_err() => {
                    return Err(Failure::Illegal(format!(
                        "The entity name for {first_type} must be a valid integer broker id, but it is: {name}"
                    )));
                }
                "ips" if (name.as_str(), 0).to_socket_addrs().is_err() => {
                    return Err(Failure::Illegal(format!(
                        "The entity name for {first_type} must be a valid IP or resolvable host, but it is: {name}"
                    )));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_action(&self, entities: &Entities) -> Result<(), Failure> {
        let illegal = |message: String| Err(Failure::Illegal(message));
        let types = entities.types.join(",");
        let has_defaults =
            entities.types.iter().any(|name| ["users", "clients", "brokers", "ips"].contains(&name.as_str()));
        let has_name = entities.names.iter().any(|name| !name.is_empty());
        let has_default = entities.names.iter().any(String::is_empty);
        if self.describe {
            if !has_defaults && self.entity_default > 0 {
                return illegal(format!("--entity-default must not be specified with --describe of {types}"));
            }
            if types == "broker-loggers" && !has_name {
                return illegal(format!("An entity name must be specified with --describe of {types}"));
            }
            return Ok(());
        }
        if has_defaults && !has_name && !has_default {
            return illegal(
                "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips"
                    .to_owned(),
            );
        }
        if !has_defaults && !has_name {
            return illegal(format!("An entity name must be specified with --alter of {types}"));
        }
        if self.add_config.is_some() && self.add_config_file.is_some() {
            return illegal("Only one of --add-config or --add-config-file must be specified".to_owned());
        }
        if self.add_config.is_none() && self.add_config_file.is_none() && self.delete_config.is_empty() {
            return illegal(
                "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter"
                    .to_owned(),
            );
        }
        if entities.types.len() != entities.names.len() {
            return illegal("An entity name must be specified for every entity type".to_owned());
        }
        Ok(())
    }

    fn entities(&self, words: &[String]) -> Entities {
        let mut types = self.entity_type.clone();
        let mut given = self.entity_name.iter();
        let mut names = Vec::new();
        for word in words {
            if word == "--entity-default" {
                names.push(String::new());
            } else if word == "--entity-name" || word.starts_with("--entity-name=") {
                names.extend(given.next().cloned());
            }
        }
        for (name, entity_type) in self.flags() {
            if let Some(name) = name {
                types.push(entity_type.to_owned());
                names.push(name.to_owned());
            }
        }
        Entities { types, names }
    }

    /// The flags for single types, in the order in which Kafka takes them.
    fn flags(&self) -> impl Iterator<Item = (Option<&str>, &'static str)> {
        let default = |given: bool| given.then_some("");
        [
            (self.topic.as_deref(), "topics"),
            (self.client.as_deref(), "clients"),
            (self.user.as_deref(), "users"),
            (self.broker.as_deref(), "brokers"),
            (self.broker_logger.as_deref(), "broker-loggers"),
            (self.ip.as_deref(), "ips"),
            (self.client_metrics.as_deref(), "client-metrics"),
            (self.group.as_deref(), "groups"),
            (default(self.client_defaults), "clients"),
            (default(self.user_defaults), "users"),
            (default(self.broker_defaults), "brokers"),
            (default(self.ip_defaults), "ips"),
        ]
        .into_iter()
    }

    /// The new settings.
    pub fn changes(&self) -> Result<Changes, Failure> {
        let mut set = BTreeMap::new();
        if let Some(path) = &self.add_config_file {
            set.extend(
                Properties::gather(Some(path), &[]).map_err(|wrong| Failure::Illegal(wrong.into()))?.into_pairs(),
            );
        }
        if let Some(text) = &self.add_config {
            set.extend(read_settings(text).map_err(Failure::Illegal)?);
        }
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "$._-".contains(letter);
        if let Some(key) = set.keys().find(|key| !key.chars().all(is_plain)) {
            return Err(Failure::Illegal(format!("Invalid character found for config key: {key}")));
        }
        let reset = self.delete_config.iter().flat_map(|names| names.split(',')).map(|name| name.trim().to_owned());
        Ok(Changes { set, reset: reset.collect() })
    }
}

/// Reads `k1=v1,k2=[v1,v2]`.
///
/// # Errors
/// It is something else; the message is Kafka's.
pub fn read_settings(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut settings = Vec::new();
    // As in Java, nothing comes after the last comma.
    for setting in split_outside_brackets(text.trim_end_matches(','), ',') {
        let &[key, value] = &split_outside_brackets(setting, '=')[..] else {
            return Err("requirement failed: Invalid entity config: all configs to be added must be in the format \
                        \"key=val\" or  \"key=[val1,val2]\" to group values which contain commas."
                .to_owned());
        };
        settings.push((key.trim().to_owned(), value.replace(['[', ']'], "").trim().to_owned()));
    }
    Ok(settings)
}

/// What is between separators. One with a closing bracket behind it that was not opened behind it does not separate.
fn split_outside_brackets(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, _) in text.match_indices(separator) {
        let rest = &text[at..];
        let is_inside = rest.find(']').is_some_and(|closed| rest.find('[').is_none_or(|opened| closed < opened));
        if !is_inside {
            parts.push(&text[from..at]);
            from = at + separator.len_utf8();
        }
    }
    parts.push(&text[from..]);
    parts
}
