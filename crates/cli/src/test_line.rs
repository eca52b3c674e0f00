//! For tests: the arguments that the words of a command line give a tool.

use clap::{Args, Parser};

#[derive(Parser)]
struct Line<A: Args> {
    #[command(flatten)]
    arguments: A,
}

/// The arguments of a tool; the line must be one that it takes.
pub fn arguments<A: Args>(line: &str) -> A {
    Line::try_parse_from(std::iter::once("tool").chain(line.split_whitespace())).unwrap().arguments
}
