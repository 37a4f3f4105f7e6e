//! The model stub as a program, for benchmarks and for trying the application by hand.

use std::net::SocketAddr;

use clap::Parser;
use parts::model::ModelStub;

#[derive(Parser)]
#[command(about = "An OpenAI-compatible model server with faults, for tests")]
struct Arguments {
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let stub = ModelStub::start_on(Arguments::parse().listen).await?;
    println!("{}", stub.base_url());
    tokio::signal::ctrl_c().await
}
