//! The table: medians, their spread, and each row's share of its baseline.

use super::Args;
use super::common::{Spread, processor};
use super::load::Sample;
use super::rows::{Goal, Row};

/// Prints it as Markdown.
pub fn print(rows: &[Row], measured: &[Vec<Sample>], args: &Args) {
    println!();
    println!(
        "{} rounds of {} s, {} connections, server on one core; {}.",
        args.rounds,
        args.seconds,
        args.connections,
        processor()
    );
    println!("Medians, lowest and highest round in brackets; ratios are taken within a round.");
    println!();
    println!("| | requests/s | of baseline | goal | CPU µs/request | of baseline | p50 ms | p99 ms | memory MB |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for (row, samples) in rows.iter().zip(measured) {
        let ratio = |name: &str, of: fn(&Sample) -> f64| {
            let other = rows.iter().position(|other| other.name == name).and_then(|at| measured.get(at));
            let pairs = samples.iter().zip(other.into_iter().flatten());
            Spread::of(pairs.map(|(sample, base)| of(sample) / of(base)))
        };
        let rate = Spread::of(samples.iter().map(|sample| sample.requests_per_second));
        let speed = |name: &str| ratio(name, |sample| sample.requests_per_second);
        let cpu = ratio(row.baseline, |sample| sample.cpu_microseconds);
        let goals: Vec<_> = row.goals.iter().map(|goal| judged(*goal, &rate, speed)).collect();
        let is_baseline = row.name == row.baseline;
        println!(
            "| {} | {} | {} | {} | {} | {} | {:.2} | {:.2} | {:.0} |",
            row.name,
            rate.with_digits(0),
            if is_baseline { "1".to_owned() } else { speed(row.baseline).with_digits(3) },
            goals.join("; "),
            Spread::of(samples.iter().map(|sample| sample.cpu_microseconds)).with_digits(1),
            if is_baseline { "1".to_owned() } else { cpu.with_digits(3) },
            Spread::of(samples.iter().map(|sample| sample.p50_microseconds)).median / 1000.0,
            Spread::of(samples.iter().map(|sample| sample.p99_microseconds)).median / 1000.0,
            Spread::of(samples.iter().map(|sample| sample.resident_bytes as f64)).median / 1e6,
        );
    }
}

fn judged(goal: Goal, rate: &Spread, share_of: impl Fn(&str) -> Spread) -> String {
    let (reached, wanted, what) = match goal {
        Goal::Share(share, other) => (share_of(other).median, share, format!("{share} of \"{other}\"")),
        Goal::Rate(least) => (rate.median, least, format!("{least}/s")),
    };
    match goal {
        _ if reached >= wanted => format!("{what}: met"),
        Goal::Share(..) => format!("{what}: **missed** ({reached:.3})"),
        Goal::Rate(_) => format!("{what}: **missed**"),
    }
}
