//! What is wrong with a configuration, and where it says so.

use std::fmt;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file, by its path as it was given, on this line, counted from 1.
    File {
        /// The path.
        path: String,
        /// The line.
        line: usize,
    },
    /// On the command line.
    Override,
    /// Nowhere: a start without a file has it.
    BareStart,
}

/// A broker cannot start with this configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it is wrong, if anywhere in particular.
    pub origin: Option<Origin>,
    /// Which key is wrong, with its value unless that is secret.
    pub subject: String,
    /// What is wrong.
    pub reason: String,
}

/// Something that is probably not meant, but does no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub origin: Origin,
    /// What.
    pub text: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{path} line {line}"),
            Self::Override => f.write_str("--override"),
            Self::BareStart => f.write_str("start without --config"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        write!(f, "{}: {}", self.subject, self.reason)
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.text)
    }
}
