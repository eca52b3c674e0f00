//! The counts of every suite on Kafka beside those on Ottla, and by name what is not the same.

use std::collections::BTreeMap;

use super::record::word;
use super::suite::{Outcome, Test};

/// What is said of all suites at the end.
pub struct Report {
    /// Whose outcomes are in the last column.
    tested: &'static str,
    /// Suites of what a real Kafka does not do: there a failure is one, however it ends on Kafka.
    beyond_kafka: Vec<&'static str>,
    rows: Vec<[String; 3]>,
    remarks: Vec<String>,
    failures: Vec<String>,
    passed: usize,
    skipped: usize,
}

/// Tests by how they ended.
#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
    left_out: usize,
}

impl Report {
    /// For suites that run on `tested`.
    pub fn of(tested: &'static str) -> Self {
        let (rows, remarks, failures) = (Vec::new(), Vec::new(), Vec::new());
        Self { tested, beyond_kafka: Vec::new(), rows, remarks, failures, passed: 0, skipped: 0 }
    }

    /// Every test of `suite` must pass, also where it fails on Kafka.
    pub fn must_pass(&mut self, suite: &'static str) {
        self.beyond_kafka.push(suite);
    }

    /// Holds what a suite gave on ours, or why it did not run, against how its tests end on Kafka. `complete` is whether
    /// all of its tests were to run.
    pub fn add(
        &mut self,
        suite: &str,
        on_kafka: &BTreeMap<String, String>,
        on_ours: Result<&[Test], &str>,
        complete: bool,
    ) {
        let ours = on_ours.unwrap_or_default();
        if let Err(error) = on_ours {
            self.failures.push(format!("{suite}: {error}"));
        }
        for test in ours {
            self.judge(suite, test, on_kafka.get(&test.name).map(String::as_str));
        }
        if complete && on_ours.is_ok() {
            let ran = |name: &str| ours.iter().any(|test| test.name == name);
            let missing = on_kafka.iter().filter(|(name, outcome)| *outcome == "passed" && !ran(name));
            self.failures.extend(missing.map(|(name, _)| format!("{suite}: {name} did not run")));
        }
        let there = Counts::of(on_kafka.values().map(String::as_str)).text();
        let here = Counts::of(ours.iter().map(|test| word(&test.outcome))).text();
        self.rows.push([suite.to_owned(), there, here]);
    }

    fn judge(&mut self, suite: &str, test: &Test, on_kafka: Option<&str>) {
        let name = &test.name;
        match &test.outcome {
            Outcome::Passed | Outcome::PassedAgain(_) => {
                self.passed += 1;
                if let Outcome::PassedAgain(error) = &test.outcome {
                    self.remarks.push(format!("passed at the second attempt, by itself: {suite}: {name}: {error}"));
                }
                if let Some(there @ ("failed" | "skipped")) = on_kafka {
                    self.remarks.push(format!("{there} on Kafka alone: {suite}: {name}"));
                }
            }
            Outcome::Failed(_) if on_kafka == Some("failed") && !self.beyond_kafka.contains(&suite) => {
                self.skipped += 1;
                self.remarks.push(format!("fails on Kafka too: {suite}: {name}"));
            }
            Outcome::Failed(error) => self.failures.push(format!("{suite}: {name}: {error}")),
            Outcome::Skipped(reason) if on_kafka == Some("passed") => {
                self.failures.push(format!("{suite}: {name} was skipped: {reason}"));
            }
            Outcome::Skipped(reason) => {
                self.skipped += 1;
                self.remarks.push(format!("skipped on Kafka too: {suite}: {name}: {reason}"));
            }
            Outcome::LeftOut(reason) => {
                self.skipped += 1;
                self.remarks.push(format!("left out: {suite}: {name}: {reason}"));
            }
        }
    }

    /// Prints it; the last line is `N passed, N failed, N skipped`. How many failed.
    pub fn print(&self) -> usize {
        let width = |column: usize| self.rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let (first, second) = (width(0).max("suite".len()), width(1).max("on Kafka".len()));
        println!("\n{:first$}  {:second$}  on {}", "suite", "on Kafka", self.tested);
        for [suite, there, here] in &self.rows {
            println!("{suite:first$}  {there:second$}  {here}");
        }
        self.remarks.iter().for_each(|remark| println!("{remark}"));
        self.failures.iter().for_each(|failure| println!("FAILED {failure}"));
        println!("{} passed, {} failed, {} skipped", self.passed, self.failures.len(), self.skipped);
        self.failures.len()
    }
}

impl Counts {
    fn of<'a>(outcomes: impl Iterator<Item = &'a str>) -> Self {
        outcomes.fold(Self::default(), |mut counts, outcome| {
            match outcome {
                "passed" => counts.passed += 1,
                "failed" => counts.failed += 1,
                "skipped" => counts.skipped += 1,
                _ => counts.left_out += 1,
            }
            counts
        })
    }

    fn text(&self) -> String {
        let Self { passed, failed, skipped, left_out } = self;
        let counts = [(passed, "passed"), (failed, "failed"), (skipped, "skipped"), (left_out, "left out")];
        let seen = counts.iter().filter(|(count, what)| **count > 0 || *what == "passed");
        seen.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(name: &str, outcome: Outcome) -> Test {
        Test { name: name.to_owned(), outcome }
    }

    fn failures(on_kafka: &[(&str, &str)], ours: &[Test]) -> Vec<String> {
        let on_kafka = on_kafka.iter().map(|(name, outcome)| ((*name).to_owned(), (*outcome).to_owned())).collect();
        let mut report = Report::of("Ottla");
        report.add("suite", &on_kafka, Ok(ours), true);
        report.failures
    }

    #[test]
    fn what_fails_on_ours_alone_is_a_failure() {
        let ours = [test("one", Outcome::Failed("why".into())), test("two", Outcome::Failed("why".into()))];
        assert_eq!(failures(&[("one", "passed"), ("two", "failed")], &ours), ["suite: one: why"]);
        assert_eq!(failures(&[("one", "passed")], &[test("one", Outcome::Passed)]), [""; 0]);
    }

    #[test]
    fn what_must_pass_is_a_failure_also_where_it_fails_on_kafka() {
        let mut report = Report::of("Ottla");
        report.must_pass("suite");
        let on_kafka = BTreeMap::from([("one".to_owned(), "failed".to_owned())]);
        report.add("suite", &on_kafka, Ok(&[test("one", Outcome::Failed("why".into()))]), true);
        assert_eq!(report.failures, ["suite: one: why"]);
    }

    #[test]
    fn what_passed_at_the_second_attempt_is_told() {
        let mut report = Report::of("Ottla");
        let on_kafka = BTreeMap::from([("one".to_owned(), "passed".to_owned())]);
        report.add("suite", &on_kafka, Ok(&[test("one", Outcome::PassedAgain("why".into()))]), true);
        assert_eq!((report.passed, report.failures.len()), (1, 0));
        assert_eq!(report.remarks, ["passed at the second attempt, by itself: suite: one: why"]);
    }

    #[test]
    fn what_ours_makes_a_suite_skip_is_a_failure() {
        let ours = [test("one", Outcome::Skipped("why".into())), test("two", Outcome::Skipped("why".into()))];
        assert_eq!(failures(&[("one", "passed"), ("two", "skipped")], &ours), ["suite: one was skipped: why"]);
    }

    #[test]
    fn what_did_not_run_is_a_failure_unless_it_was_left_out() {
        assert_eq!(failures(&[("one", "passed")], &[]), ["suite: one did not run"]);
        let left_out = [test("one", Outcome::LeftOut("for later: needs transactions".into()))];
        assert_eq!(failures(&[("one", "passed")], &left_out), [""; 0]);
        assert_eq!(failures(&[("one", "skipped")], &[]), [""; 0]);
    }
}
