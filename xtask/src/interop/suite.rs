//! A suite: tests that run one after the other against one freshly started broker.
//!
//! Its tests are either cases of ours, or those that a client's authors wrote, run by their own test runner.

use std::path::Path;
use std::time::Instant;

use super::case::{Case, Context};
use crate::Fallible;
use crate::server::{self, Kind, Server};

/// What suites of others are told that the broker is; it decides which of their tests apply.
pub const KAFKA_VERSION: &str = "4.3.0";
/// Makes a real Kafka let everyone do everything, and list whom it lets.
pub const ALLOW_ALL: [&str; 3] = [
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found=true",
    "super.users=User:ANONYMOUS",
];

/// More failures than this are no chance.
const TRIED_AGAIN_MAX: usize = 5;

type Work = Box<dyn Fn(&mut Context) -> Fallible<Vec<Test>>>;

/// How one test ended.
pub struct Test {
    pub name: String,
    pub outcome: Outcome,
}

/// What a test's end says.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// At the second attempt, by itself; with what was wrong at the first.
    PassedAgain(String),
    /// With what was wrong.
    Failed(String),
    /// By the suite itself, with the reason.
    Skipped(String),
    /// By us, with the reason.
    LeftOut(String),
}

/// Whose tests.
enum Tests {
    Ours(Vec<Case>),
    Theirs(Work),
}

/// Tests, and the broker that they want.
pub struct Suite {
    pub name: &'static str,
    /// Settings of the broker, as `key=value`; `PORT` stands for its port.
    settings: Vec<String>,
    /// Those that only a real Kafka gets.
    settings_on_kafka: Vec<String>,
    /// The broker's port, where tests have it written in.
    port: Option<u16>,
    /// It shows what a real Kafka does not do.
    pub is_beyond_kafka: bool,
    /// Tests that only run against a real Kafka, with the reason.
    not_ours: &'static [(&'static str, &'static str)],
    tests: Tests,
}

impl Suite {
    /// Cases of ours, against a broker with the default settings.
    pub fn of_cases(name: &'static str, cases: Vec<Case>) -> Self {
        Self::of(name, Tests::Ours(cases))
    }

    /// A suite of others; `work` runs it against the broker it is given and tells how each test ended.
    pub fn of_others(name: &'static str, work: impl Fn(&mut Context) -> Fallible<Vec<Test>> + 'static) -> Self {
        Self::of(name, Tests::Theirs(Box::new(work)))
    }

    fn of(name: &'static str, tests: Tests) -> Self {
        let (settings, settings_on_kafka) = (Vec::new(), Vec::new());
        Self { name, settings, settings_on_kafka, port: None, is_beyond_kafka: false, not_ours: &[], tests }
    }

    /// Starts the broker with these settings.
    pub fn with_settings(mut self, settings: &[&str]) -> Self {
        self.settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        self
    }

    /// Gives a real Kafka these settings too, for features that ours does not have yet.
    pub fn with_settings_on_kafka(mut self, settings: &[&str]) -> Self {
        self.settings_on_kafka = settings.iter().map(|setting| (*setting).to_owned()).collect();
        self
    }

    /// All of it must pass here, although it fails on a real Kafka.
    pub fn beyond_kafka(mut self) -> Self {
        self.is_beyond_kafka = true;
        self
    }

    /// Starts the broker on this port if it is free.
    pub fn on_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Leaves out these tests, each with the reason, where the broker is ours.
    pub fn without(mut self, not_ours: &'static [(&'static str, &'static str)]) -> Self {
        self.not_ours = not_ours;
        self
    }

    /// Keeps only those of its cases whose name contains `filter`; false where none is left. Suites of others are kept
    /// or left as a whole.
    pub fn retain(&mut self, filter: &str) -> bool {
        match &mut self.tests {
            Tests::Ours(cases) => {
                cases.retain(|case| case.name.contains(filter));
                !cases.is_empty()
            }
            Tests::Theirs(_) => self.name.contains(filter),
        }
    }

    /// The names of its cases, or its own where the tests are others'.
    pub fn names(&self) -> Vec<&str> {
        match &self.tests {
            Tests::Ours(cases) => cases.iter().map(|case| case.name.as_str()).collect(),
            Tests::Theirs(_) => vec![self.name],
        }
    }

    /// Starts a broker on an empty folder and runs all tests against it.
    pub fn run(&self, kind: Kind, clients: &super::Clients, scratch: &Path) -> Fallible<Vec<Test>> {
        let mut settings = self.settings.clone();
        if matches!(kind, Kind::Kafka { .. }) {
            settings.extend_from_slice(&self.settings_on_kafka);
        }
        let port = self.free_port().map_or_else(server::free_port, Ok)?;
        settings.iter_mut().for_each(|setting| *setting = setting.replace(":PORT", &format!(":{port}")));
        let mut server = Server::new(kind, &scratch.join("broker"), &settings, Some(port))?;
        server.start()?;
        let left_out = if server.is_ottla() { self.not_ours } else { &[] };
        let mut context = Context::new(server, clients.clone(), scratch);
        context.left_out = left_out.iter().map(|(name, _)| *name).collect();
        let mut tests = match &self.tests {
            Tests::Ours(cases) => run_cases(cases, &mut context),
            Tests::Theirs(work) => work(&mut context)?,
        };
        try_again(&mut tests, |name| self.passes_alone(name, &mut context));
        tests.extend(
            left_out.iter().map(|(name, reason)| Test {
                name: (*name).to_owned(),
                outcome: Outcome::LeftOut((*reason).to_owned()),
            }),
        );
        if let Some(output) = context.server.died() {
            return Err(format!("the broker died:\n{output}").into());
        }
        context.server.stop()?;
        Ok(tests)
    }

    /// Runs one test by itself, once more; whether it passed.
    fn passes_alone(&self, name: &str, context: &mut Context) -> bool {
        println!("once more, by itself: {name}");
        context.again = Some(name.to_owned());
        let tests = match &self.tests {
            Tests::Ours(cases) => {
                let case = cases.iter().find(|case| case.name == name);
                case.map_or_else(Vec::new, |case| run_cases(std::slice::from_ref(case), context))
            }
            Tests::Theirs(work) => work(context).unwrap_or_default(),
        };
        context.again = None;
        tests.iter().any(|test| test.name == name && test.outcome == Outcome::Passed)
    }

    /// The wanted port, unless someone else has it.
    fn free_port(&self) -> Option<u16> {
        self.port.filter(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
    }
}

/// Tries what failed once more: tests have races of their own, which the report tells of, and what fails for a reason fails
/// again. Where nothing passed, nothing failed by chance.
fn try_again(tests: &mut [Test], mut passes_alone: impl FnMut(&str) -> bool) {
    let failed = |test: &&mut Test| matches!(test.outcome, Outcome::Failed(_));
    let count = tests.len();
    let failed: Vec<_> = tests.iter_mut().filter(failed).collect();
    if failed.len() > TRIED_AGAIN_MAX || failed.len() == count {
        return;
    }
    for test in failed {
        if let Outcome::Failed(error) = &mut test.outcome
            && passes_alone(&test.name)
        {
            test.outcome = Outcome::PassedAgain(std::mem::take(error));
        }
    }
}

fn run_cases(cases: &[Case], context: &mut Context) -> Vec<Test> {
    let mut tests = Vec::new();
    for case in cases {
        let begun = Instant::now();
        let outcome = match context.run(case) {
            Ok(()) => {
                println!("ok {} ({} ms)", case.name, begun.elapsed().as_millis());
                Outcome::Passed
            }
            Err(error) => {
                println!("FAILED {}: {error}", case.name);
                Outcome::Failed(error.to_string())
            }
        };
        tests.push(Test { name: case.name.clone(), outcome });
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(name: usize, outcome: Outcome) -> Test {
        Test { name: name.to_string(), outcome }
    }

    #[test]
    fn a_few_that_failed_are_tried_once_more() {
        let failed = || Outcome::Failed("why".to_owned());
        let mut tests = vec![test(0, Outcome::Passed), test(1, failed()), test(2, failed())];
        let mut tried = Vec::new();
        try_again(&mut tests, |name| {
            tried.push(name.to_owned());
            name == "2"
        });
        assert_eq!(tried, ["1", "2"]);
        let outcomes = [Outcome::Passed, failed(), Outcome::PassedAgain("why".to_owned())];
        assert!(tests.iter().map(|test| &test.outcome).eq(&outcomes));
        let mut many: Vec<_> = (0..=TRIED_AGAIN_MAX).map(|name| test(name, failed())).collect();
        many.push(test(many.len(), Outcome::Passed));
        for mut tests in [many, vec![test(0, failed())]] {
            try_again(&mut tests, |_| panic!("so many do not fail by chance"));
        }
    }
}
