//! Why a dump ends early: what Kafka's tool throws there, in its words, as a JVM prints it.

use std::fmt;
use std::io;
use std::path::Path;

/// The end of a dump.
#[derive(Debug)]
pub enum Failure {
    /// An exception of Kafka's tool.
    Exception {
        /// Its class.
        class: &'static str,
        /// Its message; empty where it has none.
        message: String,
    },
    /// Nobody reads the output any more.
    Output(io::Error),
}

/// Of reading a file.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// An exception of this class.
    pub fn new(class: &'static str, message: impl Into<String>) -> Self {
        Self::Exception { class, message: message.into() }
    }

    /// A record that cannot be one.
    pub fn invalid_record(message: impl Into<String>) -> Self {
        Self::new("org.apache.kafka.common.InvalidRecordException", message)
    }

    /// An argument that Kafka's code does not take.
    pub fn illegal_argument(message: impl Into<String>) -> Self {
        Self::new("java.lang.IllegalArgumentException", message)
    }

    /// A file could not be read.
    pub fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| match error.kind() {
            io::ErrorKind::NotFound => Self::new("java.nio.file.NoSuchFileException", path.display().to_string()),
            io::ErrorKind::PermissionDenied => {
                Self::new("java.nio.file.AccessDeniedException", path.display().to_string())
            }
            _ => Self::new("java.io.IOException", format!("{}: {error}", path.display())),
        }
    }
}

impl From<io::Error> for Failure {
    /// Only the output is written to with `?`.
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exception { class, message } if message.is_empty() => {
                write!(f, "Exception in thread \"main\" {class}")
            }
            Self::Exception { class, message } => write!(f, "Exception in thread \"main\" {class}: {message}"),
            Self::Output(error) => write!(f, "the output cannot be written: {error}"),
        }
    }
}
