//! The benchmarks: starts the release build on loopback with data of its own, measures it, prints one table.
//! `scripts/bench` runs it.

mod client;
mod foreign;
mod ledger;
mod page;
mod server;
mod sign_in;
mod stats;
mod streams;
mod table;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use base::{Clock, Random};
use clap::{Parser, Subcommand};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// What all measurements share.
struct Bench {
    binary: PathBuf,
    /// Scratch; each measurement has a folder in it.
    work: PathBuf,
    /// An empty database.
    postgres: Option<String>,
    litellm: Option<PathBuf>,
    clock: Clock,
    random: Random,
    table: table::Table,
}

#[derive(Parser)]
#[command(about = "Measures a release build of Anteroom")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, and print the table
    Run(Run),
    /// Serve one page of so many bytes
    Bare {
        #[arg(long)]
        port: u16,
        #[arg(long)]
        bytes: usize,
    },
    /// Serve the stub's models
    Stub {
        #[arg(long)]
        port: u16,
    },
}

#[derive(clap::Args)]
struct Run {
    /// The program to measure
    #[arg(long)]
    binary: PathBuf,
    /// An empty folder to work in
    #[arg(long)]
    work: PathBuf,
    /// URL of an empty PostgreSQL database
    #[arg(long)]
    postgres: Option<String>,
    /// LiteLLM's program
    #[arg(long)]
    litellm: Option<PathBuf>,
    /// Only these of: start, page, stats, sign-in, streams, foreign
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    // The generator of load has one thread; servers have as many as the machine has processors.
    let built = match &command {
        Command::Run(_) => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        Command::Bare { .. } | Command::Stub { .. } => {
            tokio::runtime::Builder::new_multi_thread().enable_all().build()
        }
    };
    let done = built.map_err(Error::from).and_then(|runtime| match command {
        Command::Run(run) => runtime.block_on(measure(run)),
        Command::Bare { port, bytes } => runtime.block_on(page::serve_bare(port, bytes)),
        Command::Stub { port } => runtime.block_on(streams::serve_stub(port)),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(run: Run) -> Result<()> {
    let mut bench = Bench {
        binary: run.binary.canonicalize()?,
        work: run.work.canonicalize()?,
        postgres: run.postgres,
        litellm: run.litellm,
        clock: Clock::system(),
        random: Random::os(),
        table: table::Table::default(),
    };
    for part in ["start", "page", "stats", "sign-in", "streams", "foreign"] {
        if !run.only.is_empty() && !run.only.iter().any(|wanted| wanted == part) {
            continue;
        }
        eprintln!("== {part}");
        let done = match part {
            "start" => page::start(&mut bench).await,
            "page" => page::run(&mut bench).await,
            "stats" => stats::run(&mut bench).await,
            "sign-in" => sign_in::run(&mut bench).await,
            "streams" => streams::run(&mut bench).await,
            _ => foreign::run(&mut bench).await,
        };
        if let Err(error) = done {
            eprintln!("   {error}");
            bench.table.judge(part, "could not be measured".to_owned(), "a figure", false);
        }
    }
    print!("\n{}", bench.table.print());
    match bench.table.missed() {
        0 => println!("\nEvery wish is met."),
        missed => println!("\n{missed} missed."),
    }
    Ok(())
}
