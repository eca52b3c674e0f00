//! Why a tool that is a client of Kafka's own kind does not begin: three ways in which Kafka's tools say that arguments make no
//! sense.

use crate::screen::Screen;

/// Before an exception of Java's that nobody catches.
pub const UNCAUGHT: &str = "Exception in thread \"main\" ";

/// Before what is wrong with a property.
pub const CONFIG_EXCEPTION: &str = "org.apache.kafka.common.config.ConfigException: ";

/// What is wrong with what the user gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The arguments do not fit: help may help.
    Usage(String),
    /// An exception of Java's that the tool throws where it reads its arguments.
    Thrown(String),
    /// One that it throws once it knows them.
    Begun(String),
}

impl Refusal {
    /// As Kafka's tool `tool` shows it, which has `begun` in front of what it throws once it knows its arguments.
    pub fn screen(&self, tool: &str, [thrown, begun]: [&str; 2]) -> Screen {
        let mut screen = Screen::default();
        screen.note(match self {
            Self::Usage(message) => format!("{message}\nTry 'ottla {tool} --help'."),
            Self::Thrown(exception) => format!("{thrown}{exception}"),
            Self::Begun(exception) => format!("{begun}{exception}"),
        });
        screen
    }
}
