//! Requests per second of several Fareboxes that differ in one thing: the number of routes, or of threads.

use super::common::Spread;
use super::farebox::Settings;
use super::load::Sample;
use super::process::{Process, SERVER_CORE, other_core};
use super::rows::{Row, challenge, free, pass};
use super::{Bench, Failure, judged, payer};

/// More routes may take away what a measurement varies by, and no more.
const SHARE: f64 = 0.95;

/// One Farebox and what it answered.
struct Server {
    name: String,
    settings: Settings,
    cores: String,
    /// By row, one for each round.
    measured: Vec<(&'static str, Vec<Sample>)>,
}

/// What is asked of each.
type Rows = fn(&Process) -> Result<Vec<Row>, Failure>;

/// With more and more routes.
pub fn routes(bench: &Bench) -> Result<(), Failure> {
    let mut servers = Vec::new();
    for &routes in &bench.args.routes {
        let settings = Settings::of(routes, bench.origin.address)?;
        servers.push(Server::new(format!("{routes} routes"), settings, SERVER_CORE));
    }
    measure(bench, &mut servers, |process| {
        let (_, paid) = payer::pay_once(process.address)?;
        Ok(vec![challenge(), free(), pass(paid.pass)])
    })?;
    println!("\n## Routes\n");
    print(&servers, Some(SHARE));
    Ok(())
}

/// With one thread, and with two: the second one on the core that the load has.
pub fn threads(bench: &Bench) -> Result<(), Failure> {
    let both = format!("{SERVER_CORE},{}", other_core());
    let mut servers = Vec::new();
    for (threads, cores) in [(1, SERVER_CORE), (2, &both)] {
        let settings = Settings { threads, ..Settings::of(10, bench.origin.address)? };
        let name = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads, cores {cores}") };
        servers.push(Server::new(name, settings, cores));
    }
    measure(bench, &mut servers, |_| Ok(vec![challenge(), free()]))?;
    println!("\n## Threads\n");
    print(&servers, None);
    Ok(())
}

impl Server {
    fn new(name: String, settings: Settings, cores: &str) -> Server {
        Server { name, settings, cores: cores.to_owned(), measured: Vec::new() }
    }

    fn add(&mut self, row: &Row, sample: Sample) {
        match self.measured.iter_mut().find(|(name, _)| *name == row.name) {
            Some((_, samples)) => samples.push(sample),
            None => self.measured.push((row.name, vec![sample])),
        }
    }
}

/// Servers take turns with each row, in each round as new processes: two of one binary differ by some percent for as long as
/// they run.
fn measure(bench: &Bench, servers: &mut [Server], rows: Rows) -> Result<(), Failure> {
    let load = bench.load()?;
    for round in 1..=bench.args.pace.rounds {
        let mut running = Vec::new();
        for server in &*servers {
            let process = server.settings.start_on(&server.cores, &bench.args.farebox, bench.folder)?;
            let rows = rows(&process)?;
            rows.iter().try_for_each(|row| load.warm_up(&process, &row.request))?;
            running.push((process, rows));
        }
        let rows = running.first().map_or(0, |(_, rows)| rows.len());
        for at in 0..rows {
            for (server, (process, rows)) in servers.iter_mut().zip(&running) {
                let Some(row) = rows.get(at) else { continue };
                bench.says(round, &format!("{}, {}", row.name, server.name));
                server.add(row, load.run(process, &row.request)?);
            }
        }
    }
    Ok(())
}

/// Prints it as Markdown; ratios are to the first server.
fn print(servers: &[Server], goal: Option<f64>) {
    let Some(first) = servers.first() else { return };
    println!("| | | requests/s | of the first | in 95 of 100 | goal | CPU µs/request | of the first | memory MB |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for (row, baseline) in &first.measured {
        for (index, server) in servers.iter().enumerate() {
            let Some((_, samples)) = server.measured.iter().find(|(name, _)| name == row) else { continue };
            let spread = |of: fn(&Sample) -> f64| Spread::of(samples.iter().map(of));
            let ratio = |of: fn(&Sample) -> f64| {
                Spread::of(samples.iter().zip(baseline).map(|(sample, base)| of(sample) / of(base)))
            };
            let speed = ratio(|sample| sample.requests_per_second);
            let is_first = index == 0;
            let share = |spread: &Spread| if is_first { "1".to_owned() } else { spread.with_digits(3) };
            let goal = goal.filter(|_| !is_first).map(|goal| judged(&goal.to_string(), speed.median >= goal));
            println!(
                "| {} | {} | {} | {} | {} | {} | {} | {} | {:.0} |",
                row,
                server.name,
                spread(|sample| sample.requests_per_second).with_digits(0),
                share(&speed),
                if is_first { String::new() } else { speed.confidence(3) },
                goal.unwrap_or_default(),
                spread(|sample| sample.cpu_microseconds).with_digits(1),
                share(&ratio(|sample| sample.cpu_microseconds)),
                spread(|sample| sample.resident_bytes as f64).median / 1e6,
            );
        }
    }
}
