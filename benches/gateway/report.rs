//! The table: medians, their spread, and each row's share of its baseline.

use super::Args;
use super::common::{Spread, processor};
use super::load::Sample;
use super::rows::Row;

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
        let baseline = rows.iter().position(|other| other.name == row.baseline).and_then(|at| measured.get(at));
        let ratio = |of: fn(&Sample) -> f64| {
            let pairs = samples.iter().zip(baseline.into_iter().flatten());
            Spread::of(pairs.map(|(sample, base)| of(sample) / of(base)))
        };
        let speed = ratio(|sample| sample.requests_per_second);
        let cpu = ratio(|sample| sample.cpu_microseconds);
        let is_baseline = row.name == row.baseline;
        println!(
            "| {} | {} | {} | {} | {} | {} | {:.2} | {:.2} | {:.0} |",
            row.name,
            Spread::of(samples.iter().map(|sample| sample.requests_per_second)).with_digits(0),
            if is_baseline { "1".to_owned() } else { speed.with_digits(3) },
            goal(row, &speed),
            Spread::of(samples.iter().map(|sample| sample.cpu_microseconds)).with_digits(1),
            if is_baseline { "1".to_owned() } else { cpu.with_digits(3) },
            Spread::of(samples.iter().map(|sample| sample.p50_microseconds)).median / 1000.0,
            Spread::of(samples.iter().map(|sample| sample.p99_microseconds)).median / 1000.0,
            Spread::of(samples.iter().map(|sample| sample.resident_bytes as f64)).median / 1e6,
        );
    }
}

fn goal(row: &Row, speed: &Spread) -> String {
    match row.goal {
        None => String::new(),
        Some(goal) if speed.median >= goal => format!("{goal}: met"),
        Some(goal) => format!("{goal}: **missed**"),
    }
}
