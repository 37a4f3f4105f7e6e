//! `anteroom`: parses the command line and dispatches.

use std::process::ExitCode;

fn main() -> ExitCode {
    anteroom::cli::main()
}
