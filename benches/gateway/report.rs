//! The table: medians, their spread, and each row's share of its baseline.

use super::Args;
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

/// Several measurements of one thing.
struct Spread {
    lowest: f64,
    median: f64,
    highest: f64,
}

impl Spread {
    /// Not a number where there are none.
    fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        Spread { lowest: at(0), median: f64::midpoint(at(last / 2), at(last.div_ceil(2))), highest: at(last) }
    }

    fn with_digits(&self, digits: usize) -> String {
        let Spread { lowest, median, highest } = self;
        format!("{median:.digits$} ({lowest:.digits$}–{highest:.digits$})")
    }
}

/// What the numbers belong to.
fn processor() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    format!("{} with {cores} cores", model.unwrap_or("a processor"))
}
