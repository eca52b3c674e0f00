//! Where a tool that has no other properties connects to, and as whom: the two flags that such tools share.

use std::path::PathBuf;

use clap::Args;

use crate::admin_properties::{CONTROLLERS, NoClient};
use crate::client::{Address, Cluster, Endpoint, Error, Options};
use crate::properties::Properties;

// No documentation of its own: it would be told as what the tool does.
#[derive(Args, Clone, Debug, Default)]
pub struct Connection {
    /// The brokers to connect to: HOST:PORT, with commas between them.
    #[arg(long, value_name = "SERVERS")]
    pub bootstrap_server: Option<String>,
    /// A file of properties for the connection, such as client.id.
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
}

impl Connection {
    /// How to connect; as `client_id`, where the file names no other.
    ///
    /// # Errors
    /// The file cannot be read, makes no sense, or asks for what there is not.
    pub fn options(&self, client_id: &str) -> Result<Options, NoClient> {
        self.gather()?.take_admin_options(client_id)
    }

    /// The same for a tool that connects to brokers or to controllers. As in Kafka, it does not mind that its file names the
    /// others.
    pub fn options_of_either(&self, client_id: &str) -> Result<Options, NoClient> {
        let mut properties = self.gather()?;
        properties.take(CONTROLLERS);
        properties.take_admin_options(client_id)
    }

    fn gather(&self) -> Result<Properties, NoClient> {
        Properties::gather(self.command_config.as_deref(), &[]).map_err(NoClient::Unreadable)
    }
}

/// Connects a tool of administrators, which will ask for `call` first, in the words of Kafka's client for administration. Names
/// without an address are told of, and there is no client where none has one; where no broker answers, it is told why.
///
/// Differs from Kafka: a broker that cannot be reached is not tried again for 60 seconds.
pub fn connect(bootstrap: &str, options: &Options, call: &'static str) -> Result<Cluster, Error> {
    connect_to(Endpoint::Brokers, bootstrap, options, call)
}

/// The same for either endpoint.
pub fn connect_to(
    endpoint: Endpoint,
    bootstrap: &str,
    options: &Options,
    call: &'static str,
) -> Result<Cluster, Error> {
    Cluster::connect(endpoint, bootstrap, options).map_err(|error| match error {
        Error::Unresolvable(tried) => {
            warn_of_names(&tried);
            Error::NoAdminClient
        }
        error @ (Error::Unreachable(_) | Error::Broken { .. } | Error::TimedOut { .. }) => {
            eprintln!("WARN {error}");
            Error::NoNode { call }
        }
        other => other,
    })
}

/// Says which names have no address, as Kafka's clients do.
pub fn warn_of_names(without_address: &[Address]) {
    for address in without_address {
        let host = &address.host;
        eprintln!("WARN Couldn't resolve server {address} from bootstrap.servers as DNS resolution failed for {host}");
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::client::LIST_GROUPS;

    #[test]
    fn a_name_without_an_address_makes_no_client() {
        // Longer than names may be, so that nobody is asked for it.
        let bootstrap = format!("{}:9092", "x".repeat(300));
        let error = connect(&bootstrap, &Options::default(), "listTopics").unwrap_err();
        expect![[r#"
            Failed to create new KafkaAdminClient
            org.apache.kafka.common.KafkaException: Failed to create new KafkaAdminClient
            Caused by: org.apache.kafka.common.config.ConfigException: No resolvable bootstrap urls given in bootstrap.servers"#]]
        .assert_eq(&error.told());
    }

    #[test]
    fn a_host_that_does_not_answer_is_another_matter() {
        // Nobody listens there.
        let told = |call| connect("127.0.0.1:1", &Options::default(), call).unwrap_err().exception();
        expect![
            "org.apache.kafka.common.errors.TimeoutException: Timed out waiting for a node assignment. Call: listTopics"
        ]
        .assert_eq(&told("listTopics"));
        expect!["org.apache.kafka.common.KafkaException: Failed to find brokers to send ListGroups"]
            .assert_eq(&told(LIST_GROUPS));
    }
}
