//! `anteroom`: parses the command line and dispatches.

use std::process::ExitCode;

/// Gives memory back where a thousand streams have ended, and lets threads allocate without waiting for each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    anteroom::cli::main()
}
