//! The tables: medians, their spread, and whether the goals are met.

use super::common::{Spread, processor};
use super::first::{Measured, Sample};
use super::latency::{self, DELAYS, Way};
use super::rows::{Goal, Row};
use super::{Args, load};

/// Prints what both belong to.
pub fn print_machine(args: &Args) {
    println!();
    println!("{} rounds, gateway on one core; {}.", args.rounds, processor());
    println!("Medians, lowest and highest round in brackets; ratios are taken within a round.");
}

/// Prints what first payments cost, as Markdown.
pub fn print_first(rows: &[Row], measured: &Measured, args: &Args) {
    println!();
    println!("{} payments a row and round on {} connections:", args.payments, args.connections);
    println!();
    println!(
        "| | payments/s | CPU µs/payment | goal | the same in nginx's answers | of its core | p50 ms | p99 ms | memory MB | facilitator asked |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let answers = |of: fn(&load::Sample) -> f64| Spread::of(measured.nginx.iter().map(of));
    println!(
        "| nginx, static 402 | {} | {} | | | | | | | |",
        answers(|sample| sample.requests_per_second).with_digits(0),
        answers(|sample| sample.cpu_microseconds).with_digits(1),
    );
    for (row, samples) in rows.iter().zip(&measured.rows) {
        let of = |value: fn(&Sample) -> f64| Spread::of(samples.iter().map(value));
        let (rate, cpu) = (of(|sample| sample.payments_per_second), of(|sample| sample.cpu_microseconds));
        println!(
            "| {} | {} | {} | {} | {} | {:.2} | {:.1} | {:.1} | {:.0} | {} |",
            row.name,
            rate.with_digits(0),
            cpu.with_digits(0),
            row.goal.map(|goal| judged(goal, &rate, &cpu)).unwrap_or_default(),
            row.goal.map(|goal| judged_by_nginx(goal, samples, &measured.nginx)).unwrap_or_default(),
            of(|sample| sample.cpu_microseconds * sample.payments_per_second / 1e6).median,
            of(|sample| sample.p50_microseconds).median / 1000.0,
            of(|sample| sample.p99_microseconds).median / 1000.0,
            of(|sample| sample.resident_bytes as f64).median / 1e6,
            // Counted, or the run would have ended.
            if row.mode.verifications() == 0 { "settle" } else { "verify, settle" },
        );
    }
}

/// Prints how long a paid request takes, as Markdown.
pub fn print_latency(rows: &[latency::Row], args: &Args) {
    println!();
    println!(
        "{} requests a row and round, one at a time; verifying takes {} ms, settling {}, the upstream {}:",
        args.requests, DELAYS.verify, DELAYS.settle, DELAYS.upstream
    );
    println!();
    println!("| | ms | lower bound | above it | of the reference | goal | slowest ms |");
    println!("|---|---|---|---|---|---|---|");
    let named = |way: Way| rows.iter().find(|row| row.way == way);
    let reference = named(Way::Reference).or_else(|| named(Way::Alone));
    for row in rows {
        let of = |value: fn(&latency::Sample) -> f64| Spread::of(row.samples.iter().map(value));
        let took = of(|sample| sample.median);
        let above = took.median - row.bound as f64;
        let pairs = row.samples.iter().zip(reference.into_iter().flat_map(|reference| &reference.samples));
        let share = Spread::of(pairs.map(|(sample, reference)| sample.median / reference.median));
        println!(
            "| {} | {} | {} | {above:.1} | {} | {} | {:.1} |",
            row.name,
            took.with_digits(1),
            row.bound,
            share.with_digits(3),
            judged_latency(row, above, share.median),
            of(|sample| sample.slowest).highest,
        );
    }
}

fn judged(goal: Goal, rate: &Spread, cpu: &Spread) -> String {
    let (what, is_met) = match goal {
        Goal::Cpu(most) => (format!("{most} µs"), cpu.median <= most),
        Goal::Rate(least) => (format!("{least}/s"), rate.median >= least),
    };
    format!("{what}: {}", word(is_met))
}

/// The same goal with nginx for a measure, which was as much quicker or slower where it was set.
fn judged_by_nginx(goal: Goal, samples: &[Sample], nginx: &[load::Sample]) -> String {
    let pairs = samples.iter().zip(nginx);
    let bound = goal.of_nginx();
    let (what, reached, is_met) = match goal {
        Goal::Cpu(_) => {
            let times = Spread::of(pairs.map(|(sample, answer)| sample.cpu_microseconds / answer.cpu_microseconds));
            (format!("{bound:.1} of its CPU"), times.with_digits(1), times.median <= bound)
        }
        Goal::Rate(_) => {
            let share = pairs.map(|(sample, answer)| sample.payments_per_second / answer.requests_per_second);
            let share = Spread::of(share);
            (format!("{bound:.4} of its rate"), share.with_digits(4), share.median >= bound)
        }
    };
    format!("{what}: {} ({reached})", word(is_met))
}

fn judged_latency(row: &latency::Row, above: f64, share: f64) -> String {
    if !matches!(row.way, Way::Farebox(_)) {
        return String::new();
    }
    let within = row.above.map(|most| format!("{most} ms above: {}", word(above <= most)));
    let in_order = format!("the reference's time: {}", word(share <= 1.0));
    within.into_iter().chain([in_order]).collect::<Vec<_>>().join("; ")
}

fn word(is_met: bool) -> &'static str {
    if is_met { "met" } else { "**missed**" }
}
