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
        let around = around_median(measured.iter().map(added))
            .map_or_else(|| "too few pairs".to_owned(), |(least, most)| format!("{least:.1}–{most:.1}"));
        let added = spread(added);
        println!(
            "| {routes} | {name} | {} | {} | {} | {} | {around} | {} | {:.0} |",
            spread(|round| round.reload).with_digits(0),
            spread(|round| round.longest_quiet).with_digits(1),
            spread(|round| round.longest_reloading).with_digits(1),
            added.with_digits(1),
            judged("5 ms", added.median <= PAUSE_GOAL),
            resident / 1e6,
        );
    }
    Ok(())
}

/// Between which two of these values the median of what they are a sample of lies with a certainty of at least 95 %, however it
/// is distributed. `None` where there are too few.
fn around_median(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let count = values.len();
    // Each value is below the median or above it, as a coin falls: how likely so few are below it, for more and more of them.
    let (mut exactly, mut at_most, mut outside) = (0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX)), 0.0, 0);
    while at_most + exactly <= 0.025 && outside < count / 2 {
        at_most += exactly;
        exactly *= (count - outside) as f64 / (outside + 1) as f64;
        outside += 1;
    }
    let least = values.get(outside.checked_sub(1)?)?;
    Some((*least, *values.get(count.checked_sub(outside)?)?))
}
