//! What a tool shows: its output, and notes about it. Kept apart until the end, so that tests see what users see.

use std::io::{self, Write};

/// Text for stdout and for stderr.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// For stdout.
    pub out: String,
    /// For stderr.
    pub notes: String,
}

impl Screen {
    /// A line of output.
    pub fn say(&mut self, line: impl AsRef<str>) {
        self.out.push_str(line.as_ref());
        self.out.push('\n');
    }

    /// A line beside the output.
    pub fn note(&mut self, line: impl AsRef<str>) {
        self.notes.push_str(line.as_ref());
        self.notes.push('\n');
    }

    /// Shows all of it. A reader that has gone away, such as `head`, is no failure of ours.
    pub fn show(&self) {
        let _ = io::stdout().write_all(self.out.as_bytes());
        let _ = io::stderr().write_all(self.notes.as_bytes());
    }
}
