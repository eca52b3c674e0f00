//! The one binary, `ottla`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ottla_cli::main()
}
