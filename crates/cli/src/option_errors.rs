//! What is wrong with the options of a tool, in the words of the library that reads those of Kafka's tools (joptsimple): scripts
//! may look for them.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Options that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct OptionError {
    /// What is wrong.
    pub message: String,
    /// The option's name.
    pub name: String,
    /// Java's exception for that.
    class: &'static str,
    /// Whether that library finds it only when a tool looks at the option.
    pub is_found_late: bool,
}

impl OptionError {
    /// The same as `error` says; nothing where that library has no words for it.
    pub fn of(error: &clap::Error) -> Option<Self> {
        let text = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.as_str()),
            _ => None,
        };
        // Such as `--timeout <MS>`.
        let shown = text(ContextKind::InvalidArg)?;
        let name = shown.trim_start_matches('-').split([' ', '=', '[']).next()?;
        let found = |class, message, is_found_late| Self { message, name: name.to_owned(), class, is_found_late };
        let late = |class, message| Some(found(class, message, true));
        let early = |class, message| Some(found(class, message, false));
        match error.kind() {
            ErrorKind::ArgumentConflict if shown.contains('<') => late(
                "MultipleArgumentsForOptionException",
                format!("Found multiple arguments for option {name}, but you asked for only one"),
            ),
            ErrorKind::ValueValidation => {
                let value = text(ContextKind::InvalidValue)?;
                late("OptionArgumentConversionException", format!("Cannot parse argument '{value}' of option {name}"))
            }
            ErrorKind::InvalidValue => {
                early("OptionMissingRequiredArgumentException", format!("Option {name} requires an argument"))
            }
            ErrorKind::UnknownArgument => {
                early("UnrecognizedOptionException", format!("{name} is not a recognized option"))
            }
            _ => None,
        }
    }

    /// The first line of Java's stack trace.
    pub fn trace(&self) -> String {
        format!("joptsimple.{}: {}", self.class, self.message)
    }

    /// The same, where the tool does not catch it.
    pub fn uncaught(&self) -> String {
        format!("Exception in thread \"main\" {}", self.trace())
    }
}
