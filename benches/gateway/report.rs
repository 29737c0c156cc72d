//! The table: medians, their spread, each row's share of its baseline, and beneath it the goals.

use super::Args;
use super::common::{Spread, processor};
use super::load::Sample;
use super::rows::{Goal, Row};

/// What was measured of all rows.
pub struct Report<'a> {
    /// The rows.
    pub rows: &'a [Row],
    /// Each round of each.
    pub measured: &'a [Vec<Sample>],
    /// How long an answer of each is, head and body.
    pub bytes: &'a [usize],
    /// What the peers are.
    pub notes: &'a [String],
}

impl Report<'_> {
    /// Prints it as Markdown.
    pub fn print(&self, args: &Args) {
        println!();
        println!(
            "{} rounds of {} s, {} connections, server on one core; {}.",
            args.pace.rounds,
            args.pace.seconds,
            args.connections,
            processor()
        );
        println!("Medians, lowest and highest round in brackets; ratios are taken within a round.");
        println!();
        println!(
            "| | requests/s | of baseline | CPU µs/request | of baseline | p50 ms | p99 ms | memory MB | answer bytes |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        for ((row, samples), bytes) in self.rows.iter().zip(self.measured).zip(self.bytes) {
            let of_baseline = |of: fn(&Sample) -> f64| match row.name == row.baseline {
                true => "1".to_owned(),
                false => self.ratio(samples, row.baseline, of).with_digits(3),
            };
            let median = |of: fn(&Sample) -> f64| Spread::of(samples.iter().map(of)).median;
            println!(
                "| {} | {} | {} | {} | {} | {:.2} | {:.2} | {:.0} | {bytes} |",
                row.name,
                Spread::of(samples.iter().map(requests)).with_digits(0),
                of_baseline(requests),
                Spread::of(samples.iter().map(cpu)).with_digits(1),
                of_baseline(cpu),
                median(|sample| sample.p50_microseconds) / 1000.0,
                median(|sample| sample.p99_microseconds) / 1000.0,
                median(|sample| sample.resident_bytes as f64) / 1e6,
            );
        }
        let goals = self.rows.iter().zip(self.measured).flat_map(|(row, samples)| {
            row.goals.iter().map(move |goal| format!("{}: {}", row.name, self.judged(*goal, samples)))
        });
        print_list(goals);
        print_list(self.notes);
    }

    /// Of another row, in the same rounds; not a number if it was not measured.
    fn ratio(&self, samples: &[Sample], other: &str, of: fn(&Sample) -> f64) -> Spread {
        let other = self.rows.iter().position(|row| row.name == other).and_then(|at| self.measured.get(at));
        let pairs = samples.iter().zip(other.into_iter().flatten());
        Spread::of(pairs.map(|(sample, base)| of(sample) / of(base)))
    }

    fn judged(&self, goal: Goal, samples: &[Sample]) -> String {
        let (what, met, reached) = match goal {
            Goal::Share(share, other) => {
                let reached = self.ratio(samples, other, requests);
                let shown = (share * 1e3).round() / 1e3;
                (format!("at least {shown} × the requests/s of \"{other}\""), reached.median >= share, reached)
            }
            Goal::Cpu(share, other) => {
                let reached = self.ratio(samples, other, cpu);
                (format!("at most {share} × the CPU of \"{other}\""), reached.median <= share, reached)
            }
            Goal::Rate(least) => {
                let reached = Spread::of(samples.iter().map(requests));
                (format!("at least {least} requests/s"), reached.median >= least, reached)
            }
        };
        let digits = if matches!(goal, Goal::Rate(_)) { 0 } else { 3 };
        if reached.median.is_nan() {
            return format!("{what}: not measured");
        }
        let met = if met { "met" } else { "**missed**" };
        format!("{what}: {met} ({:.digits$}; in 95 of 100 runs {})", reached.median, reached.confidence(digits))
    }
}

fn requests(sample: &Sample) -> f64 {
    sample.requests_per_second
}

fn cpu(sample: &Sample) -> f64 {
    sample.cpu_microseconds
}

fn print_list(lines: impl IntoIterator<Item = impl std::fmt::Display>) {
    for (number, line) in lines.into_iter().enumerate() {
        println!("{}- {line}", if number == 0 { "\n" } else { "" });
    }
}
