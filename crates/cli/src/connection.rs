//! Where a tool that has no other properties connects to, and as whom: the two flags that such tools share.

use std::path::PathBuf;

use clap::Args;

use crate::client::Options;
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
    /// The file cannot be read, or asks for what there is not.
    pub fn options(&self, client_id: &str) -> Result<Options, String> {
        let mut properties = Properties::gather(self.command_config.as_deref(), &[])?;
        let options = properties.take_connection_options(client_id)?;
        properties.warn_of_the_rest_in_administration();
        Ok(options)
    }
}
