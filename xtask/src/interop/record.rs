//! How every test ended on a real Kafka, kept in the repository: what ours is held against where no Kafka runs beside it.
//!
//! ```text
//! kcat <tab> kcat gzip <tab> passed
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::suite::{Outcome, Test};
use crate::{Fallible, files};

/// The outcome of each test of each suite.
pub struct Record {
    suites: BTreeMap<String, BTreeMap<String, String>>,
}

impl Record {
    /// What the repository says.
    pub fn read() -> Fallible<Self> {
        let mut suites: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let text = fs::read_to_string(path()).map_err(|error| format!("{}: {error}", path().display()))?;
        for line in text.lines() {
            let [suite, test, outcome] = line.split('\t').collect::<Vec<_>>()[..] else {
                return Err(format!("{}: not a suite, a test and its outcome: {line:?}", path().display()).into());
            };
            suites.entry(suite.to_owned()).or_default().insert(test.to_owned(), outcome.to_owned());
        }
        Ok(Self { suites })
    }

    /// Puts what was just seen in place of what was known of a suite, but for tests that were left out.
    pub fn replace(&mut self, suite: &str, tests: &[Test]) {
        let old = self.suites.remove(suite).unwrap_or_default();
        let new = tests.iter().filter_map(|test| {
            let left_out = matches!(test.outcome, Outcome::LeftOut(_));
            let outcome = if left_out { old.get(&test.name)?.clone() } else { word(&test.outcome).to_owned() };
            Some((test.name.clone(), outcome))
        });
        self.suites.insert(suite.to_owned(), new.collect());
    }

    /// How the tests of a suite ended; none where the suite is not known.
    pub fn suite(&self, name: &str) -> BTreeMap<String, String> {
        self.suites.get(name).cloned().unwrap_or_default()
    }

    /// Writes it into the repository.
    pub fn write(&self) -> Fallible<()> {
        let mut text = String::new();
        for (suite, tests) in &self.suites {
            for (test, outcome) in tests {
                text += &format!("{suite}\t{test}\t{outcome}\n");
            }
        }
        files::write_whole(&path(), &text)
    }
}

/// The outcome as the record names it.
pub fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed | Outcome::PassedAgain(_) => "passed",
        Outcome::Failed(_) => "failed",
        Outcome::Skipped(_) => "skipped",
        Outcome::LeftOut(_) => "left out",
    }
}

fn path() -> PathBuf {
    files::root().join("xtask/interop/on-kafka.tsv")
}
