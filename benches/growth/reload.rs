//! What a reload makes a request wait.

use std::fs;

use super::common::Spread;
use super::farebox::Settings;
use super::process::free_address;
use super::steady::{self, Round};
use super::{Bench, Failure, judged};

/// What a reload may add to the longest wait, in milliseconds.
const PAUSE_GOAL: f64 = 5.0;

/// What the requests of one process look like.
const CONNECTIONS: u32 = 32;
const PER_SECOND: u32 = 3_200;

/// For each round of the run, so many pairs of windows of each kind: the longest of thousands of waits is a matter of luck.
const PAIRS: usize = 4;

/// A window is as long as this at least, and longer than any reload.
const WINDOW_MILLISECONDS: u64 = 2_500;

/// With few routes and with many; the file as it was, and with another price on each priced route.
pub fn measure(bench: &Bench) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for routes in bench.extremes() {
        let settings = Settings { admin: Some(free_address()?), ..Settings::of(routes, bench.origin.address)? };
        let farebox = settings.start(&bench.args.farebox, bench.folder)?;
        let other = settings.file(bench.folder).with_extension("other");
        fs::write(&other, Settings { price: "$0.02", ..settings.clone() }.text()?)?;
        for (name, other) in [("the same file", None), ("another price everywhere", Some(other))] {
            eprintln!("reloads of {routes} routes, {name}");
            let measured = steady::start(&steady::Args {
                gateway: farebox.address,
                admin: settings.admin.ok_or("an operator's listener")?,
                file: settings.file(bench.folder),
                other,
                connections: CONNECTIONS,
                per_second: PER_SECOND,
                window: WINDOW_MILLISECONDS,
                rounds: bench.args.pace.rounds * PAIRS,
            })?;
            rows.push((routes, name, measured, farebox.resident_bytes()? as f64));
        }
    }
    println!("\n## Reload\n");
    println!(
        "{CONNECTIONS} connections, {PER_SECOND} challenges a second; windows of {WINDOW_MILLISECONDS} ms or three times a reload, in turns, {} of \
         each kind. Added is what the longest wait of a window with a reload is more than that of the one before it: the \
         median of these differences, and between which two of them the median of ever so many would lie in 95 of 100 runs.\n",
        bench.args.pace.rounds * PAIRS
    );
    println!(
        "| routes | | reload ms | longest wait without, ms | with a reload, ms | added, median | in 95 of 100 | goal | memory MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (routes, name, measured, resident) in &rows {
        let spread = |of: fn(&Round) -> f64| Spread::of(measured.iter().map(of));
        let added = |round: &Round| round.longest_reloading - round.longest_quiet;
        let added = spread(added);
        println!(
            "| {routes} | {name} | {} | {} | {} | {} | {} | {} | {:.0} |",
            spread(|round| round.reload).with_digits(0),
            spread(|round| round.longest_quiet).with_digits(1),
            spread(|round| round.longest_reloading).with_digits(1),
            added.with_digits(1),
            added.confidence(1),
            judged("5 ms", added.median <= PAUSE_GOAL),
            resident / 1e6,
        );
    }
    Ok(())
}
