//! The binary: parses the command line and calls one command, nothing else.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use farebox::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
