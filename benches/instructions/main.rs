//! How many instructions the gate's pieces take: what a change costs, on a machine whose clock cannot be trusted.
//!
//! `benches/instructions/run` counts each piece under valgrind's callgrind, in a process of its own, and compares it with
//! `counts.toml` beside this file. Valgrind shows every program the same processor, so that another machine counts the
//! same; another compiler, or another libc, need not. What takes how long is `pieces`'.

mod callgrind;
// Shared with those that measure in rounds.
#[path = "../common/command.rs"]
#[allow(dead_code)]
mod command;
mod counts;
mod pieces;
#[path = "../common/settled.rs"]
mod settled;
#[path = "../../tests/support/shop.rs"]
mod shop;
#[path = "../common/sign.rs"]
mod sign;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use self::command::Failure;
use self::counts::Counts;

// As in the shipped binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Counts instructions, and fails where a count has changed.
#[derive(clap::Args)]
struct Args {
    /// Writes the counts down instead of comparing them.
    #[arg(long)]
    write: bool,
    /// Counts only pieces with this in their name.
    #[arg(long, value_name = "TEXT", conflicts_with = "write")]
    piece: Option<String>,
    /// Where the counts are kept.
    #[arg(long, value_name = "PATH", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/counts.toml"))]
    counts: PathBuf,
}

/// What else this binary is.
#[derive(Subcommand)]
enum Role {
    /// What runs under valgrind.
    #[command(hide = true)]
    Count(callgrind::Args),
}

fn main() -> ExitCode {
    command::run("instructions", compare, |Role::Count(count)| callgrind::run(&count))
}

fn compare(args: &Args) -> Result<(), Failure> {
    // All benches at once are built optimised: what is counted there cannot be compared with counts.toml.
    if !cfg!(debug_assertions) {
        println!("instructions are counted as the tests are built: benches/instructions/run");
        return Ok(());
    }
    let counted = Counts::of(callgrind::count(args.piece.as_deref().unwrap_or_default())?)?;
    counted.print();
    counted.same_for_any_routes()?;
    if args.write {
        return counted.write(&args.counts);
    }
    counted.compare_with(&Counts::read(&args.counts)?, args.piece.is_none())
}
