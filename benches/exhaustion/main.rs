//! What strangers can take away from those who ask for what is free: the rate of a free route with nobody else there, and
//! under each kind of strain, on this machine, in one run.
//!
//! `cargo bench --bench exhaustion` fails where less than 0.8 of the rate is left; see docs/limits.md. Everything
//! listens on loopback, ends with this process and leaves nothing behind.

// Shared with benches/gateway, which uses all of it.
#[path = "../common/command.rs"]
#[allow(dead_code)]
mod command;
#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;
#[path = "../common/load.rs"]
#[allow(dead_code)]
mod load;
#[path = "../common/origin.rs"]
mod origin;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/sign.rs"]
mod sign;
#[path = "../common/tools.rs"]
mod tools;

mod gateway;
mod rows;
mod strangers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

use self::command::Failure;
use self::common::Spread;
use self::load::Load;
use self::strangers::Strain;

/// The least share of the rate that has to be left.
const GOAL: f64 = 0.8;

/// Measures a free route under strain.
#[derive(clap::Args)]
struct Args {
    /// How often each strain is measured, beside the same route without it.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each measurement lasts.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Connections that ask for the free route, each as fast as it is answered.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// The binary that is measured.
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_farebox"))]
    farebox: PathBuf,
}

/// What else this binary is.
#[derive(Subcommand)]
enum Role {
    /// Those who strain the gateway.
    #[command(hide = true)]
    Strangers(strangers::Args),
}

/// What was measured of one strain in one round.
struct Sample {
    alone: f64,
    strained: f64,
    resident_bytes: u64,
}

fn main() -> ExitCode {
    command::run("exhaustion", measure, |Role::Strangers(strangers)| strangers::run(strangers))
}

fn measure(args: &Args) -> Result<(), Failure> {
    tools::require()?;
    let folder = tempfile::Builder::new().prefix("farebox-bench-").tempdir()?;
    let origin = origin::start(folder.path(), [(rows::FREE, 1024), (rows::PRICED, 1024)])?;
    let beside = process::free_address()?;
    let farebox = gateway::start(&args.farebox, folder.path(), origin.address, beside)?;
    let load = Load::new(folder.path(), Duration::from_secs(args.seconds), args.connections)?;
    let free = rows::free();
    load.warm_up(&farebox, &free)?;

    let mut measured: Vec<(Strain, Vec<Sample>)> = Strain::ALL.into_iter().map(|strain| (strain, Vec::new())).collect();
    for round in 1..=args.rounds {
        for (strain, samples) in &mut measured {
            eprintln!("round {round} of {}: {}", args.rounds, strain.name());
            let alone = load.run(&farebox, &free)?.requests_per_second;
            let strangers = strangers::start(*strain, farebox.address, beside)?;
            let sample = load.run(&farebox, &free)?;
            drop(strangers);
            samples.push(Sample { alone, strained: sample.requests_per_second, resident_bytes: sample.resident_bytes });
        }
    }
    report(&measured, args)
}

/// Prints it as Markdown; an error where a goal is missed.
fn report(measured: &[(Strain, Vec<Sample>)], args: &Args) -> Result<(), Failure> {
    println!();
    println!("{} rounds of {} s, {} connections, medians.", args.rounds, args.seconds, args.connections);
    println!();
    println!("| strain | free requests/s alone | under it | share, median (lowest–highest) | goal | memory MB |");
    println!("|---|---|---|---|---|---|");
    let mut missed = Vec::new();
    for (strain, samples) in measured {
        let spread = |of: fn(&Sample) -> f64| Spread::of(samples.iter().map(of));
        let share = spread(|sample| sample.strained / sample.alone);
        let is_met = share.median >= GOAL;
        println!(
            "| {} | {:.0} | {:.0} | {} | {GOAL}: {} | {:.0} |",
            strain.name(),
            spread(|sample| sample.alone).median,
            spread(|sample| sample.strained).median,
            share.with_digits(3),
            if is_met { "met" } else { "**missed**" },
            spread(|sample| sample.resident_bytes as f64).highest / 1e6,
        );
        if !is_met {
            missed.push(strain.name());
        }
    }
    if missed.is_empty() {
        Ok(())
    } else {
        Err(format!("less than {GOAL} is left under: {}", missed.join(", ")).into())
    }
}
