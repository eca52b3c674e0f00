//! Tests that cannot run on this machine. They pass, as there is no other way to end; so they say it where everybody sees it, and
//! `cargo xtask verify` counts them.

use std::fs::File;
use std::io::Write;
use std::path::Path;

/// The file in cargo's folder for temporary files of tests that has a line for each of them.
pub const SKIPPED_TESTS: &str = "skipped-tests";

/// Says that a test did not run, and why; `folder` is what cargo calls `CARGO_TARGET_TMPDIR`.
///
/// # Panics
/// Where it cannot be written down: a test that silently did not run would be worse.
pub fn skip(folder: &Path, test: &str, why: &str) {
    let line = note(folder, test, why);
    // Not by `eprintln!`, which the harness hides as long as a test passes.
    std::io::stderr().write_all(line.as_bytes()).expect("stderr is open");
}

/// Writes it down; gives the line.
fn note(folder: &Path, test: &str, why: &str) -> String {
    // One line, written at once: several processes may do so.
    let line = format!("SKIPPED {test}: {}\n", why.replace('\n', "; "));
    let list = File::options().create(true).append(true).open(folder.join(SKIPPED_TESTS));
    list.and_then(|mut list| list.write_all(line.as_bytes())).expect("target/ is there to be written to");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_skipped_test_is_written_down() {
        let folder = tempfile::tempdir().expect("a folder");
        note(folder.path(), "one", "not\nhere");
        note(folder.path(), "two", "nor here");
        let list = std::fs::read_to_string(folder.path().join(SKIPPED_TESTS)).expect("it was written");
        assert_eq!(list, "SKIPPED one: not; here\nSKIPPED two: nor here\n");
    }
}
