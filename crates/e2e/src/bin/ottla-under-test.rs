//! The program `ottla`, built with these tests so that cargo tells them where it is.

use std::process::ExitCode;

fn main() -> ExitCode {
    ottla_cli::main()
}
