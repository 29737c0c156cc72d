//! The tables: medians, their spread, and each row's share of what the disk can do.

use super::Args;
use super::common::{Spread, processor};
use super::payments::Sample;
use super::receipts::Weight;
use super::rows::Row;

/// Prints what the ledgers did, as Markdown.
pub fn print_payments(rows: &[Row], flushes: &[f64], args: &Args) {
    println!();
    println!("{} rounds of {} s; {}.", args.pace.rounds, args.pace.seconds, processor());
    println!("Medians, lowest and highest round in brackets; ratios are taken within a round.");
    println!();
    println!(
        "The disk: {} writes of 4 KiB a second, each flushed.",
        Spread::of(flushes.iter().copied()).with_digits(0)
    );
    println!();
    println!("| | payments/s | payments per flush of the disk | goal | added p50 ms | added p99 ms |");
    println!("|---|---|---|---|---|---|");
    for row in rows {
        let of = |value: fn(&Sample) -> f64| Spread::of(row.samples.iter().map(value));
        let speed = of(|sample| sample.payments_per_second);
        let ratio = Spread::of(row.samples.iter().zip(flushes).map(|(sample, disk)| sample.payments_per_second / disk));
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            row.name,
            speed.with_digits(0),
            ratio.with_digits(2),
            goal(row, &speed),
            of(|sample| sample.p50_microseconds / 1000.0).with_digits(2),
            of(|sample| sample.p99_microseconds / 1000.0).with_digits(2),
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

/// Prints what receipts weigh, as Markdown.
pub fn print_receipts(weights: &[Weight]) {
    println!();
    println!("| receipts in memory | resident MB | MB per million | bytes each |");
    println!("|---|---|---|---|");
    for Weight { count, bytes } in weights {
        match bytes {
            Some(bytes) => {
                let each = *bytes as f64 / *count as f64;
                println!("| {count} | {:.0} | {each:.0} | {each:.0} |", *bytes as f64 / 1e6);
            }
            None => println!("| {count} | not tried: there is not the memory | | |"),
        }
    }
}
