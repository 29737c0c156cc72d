//! How long a start takes: from the process's first instruction to its first answer.

use std::time::{Duration, Instant};

use super::client::{ask, connect};
use super::common::Spread;
use super::farebox::Settings;
use super::process::SERVER_CORE;
use super::rows::PRICED;
use super::{Bench, Failure, judged};

/// For the most routes.
const GOAL: Duration = Duration::from_secs(1);

/// Starts it with few routes and with many, in turns.
pub fn measure(bench: &Bench) -> Result<(), Failure> {
    let mut rows: Vec<_> = bench.extremes().map(|routes| (routes, Vec::new(), Vec::new())).collect();
    for round in 1..=bench.args.pace.rounds {
        for (routes, times, resident) in &mut rows {
            bench.says(round, &format!("start with {routes} routes"));
            let settings = Settings::of(*routes, bench.origin.address)?;
            settings.write(bench.folder)?;
            let started = Instant::now();
            let farebox = settings.start_written(SERVER_CORE, &bench.args.farebox, bench.folder)?;
            let status = ask(&mut connect(farebox.address)?, PRICED)?;
            times.push(started.elapsed().as_secs_f64());
            if status != 402 {
                return Err(format!("the first answer is {status}").into());
            }
            resident.push(farebox.resident_bytes()? as f64);
        }
    }
    println!("\n## Start\n");
    println!("| routes | from exec to the first answer, ms | goal | memory MB |");
    println!("|---|---|---|---|");
    for (routes, times, resident) in &rows {
        let time = Spread::of(times.iter().map(|seconds| seconds * 1e3));
        let resident = Spread::of(resident.iter().map(|bytes| bytes / 1e6));
        let goal = judged("1000 ms", time.median < GOAL.as_secs_f64() * 1e3);
        println!("| {routes} | {} | {goal} | {} |", time.with_digits(1), resident.with_digits(0));
    }
    Ok(())
}
