//! The binary: parses the command line and calls one command, nothing else.

use std::process::ExitCode;

use clap::Parser;
use farebox::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
