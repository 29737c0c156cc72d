//! Requests per second of several Fareboxes that differ in one thing: the number of routes, or of threads.

use super::common::Spread;
use super::farebox::Settings;
use super::load::Sample;
use super::process::{Process, SERVER_CORE, other_core};
use super::rows::{Row, challenge, free, pass};
use super::{Bench, Failure, judged, payer};

/// More routes may take away what a measurement varies by, and no more.
const SHARE: f64 = 0.95;

/// One Farebox and what it is asked.
struct Server {
    name: String,
    process: Process,
    rows: Vec<Row>,
    /// By row, one for each round.
    measured: Vec<Vec<Sample>>,
}

/// With more and more routes.
pub fn routes(bench: &Bench) -> Result<(), Failure> {
    let mut servers = Vec::new();
    for &routes in &bench.args.routes {
        let process = Settings::of(routes, bench.origin.address)?.start(&bench.args.farebox, bench.folder)?;
        let (_, paid) = payer::pay_once(process.address)?;
        let rows = vec![challenge(), free(), pass(paid.pass)];
        servers.push(Server::new(format!("{routes} routes"), process, rows));
    }
    measure(bench, &mut servers)?;
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
        let process = settings.start_on(cores, &bench.args.farebox, bench.folder)?;
        let name = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads, cores {cores}") };
        servers.push(Server::new(name, process, vec![challenge(), free()]));
    }
    measure(bench, &mut servers)?;
    println!("\n## Threads\n");
    print(&servers, None);
    Ok(())
}

impl Server {
    fn new(name: String, process: Process, rows: Vec<Row>) -> Server {
        let measured = vec![Vec::new(); rows.len()];
        Server { name, process, rows, measured }
    }
}

/// Servers take turns with each row.
fn measure(bench: &Bench, servers: &mut [Server]) -> Result<(), Failure> {
    let load = bench.load()?;
    let rows = servers.first().map_or(0, |server| server.rows.len());
    for server in &*servers {
        server.rows.iter().try_for_each(|row| load.warm_up(&server.process, &row.request))?;
    }
    for round in 1..=bench.args.pace.rounds {
        for at in 0..rows {
            for server in &mut *servers {
                let Some((row, samples)) = server.rows.get(at).zip(server.measured.get_mut(at)) else { continue };
                bench.says(round, &format!("{}, {}", row.name, server.name));
                samples.push(load.run(&server.process, &row.request)?);
            }
        }
    }
    Ok(())
}

/// Prints it as Markdown; ratios are to the first server.
fn print(servers: &[Server], goal: Option<f64>) {
    let Some(first) = servers.first() else { return };
    println!("| | | requests/s | of the first | goal | CPU µs/request | of the first | memory MB |");
    println!("|---|---|---|---|---|---|---|---|");
    for (at, row) in first.rows.iter().enumerate() {
        let baseline = first.measured.get(at).map_or(&[][..], Vec::as_slice);
        for (index, server) in servers.iter().enumerate() {
            let samples = server.measured.get(at).map_or(&[][..], Vec::as_slice);
            let spread = |of: fn(&Sample) -> f64| Spread::of(samples.iter().map(of));
            let ratio = |of: fn(&Sample) -> f64| {
                Spread::of(samples.iter().zip(baseline).map(|(sample, base)| of(sample) / of(base)))
            };
            let speed = ratio(|sample| sample.requests_per_second);
            let is_first = index == 0;
            let share = |spread: &Spread| if is_first { "1".to_owned() } else { spread.with_digits(3) };
            let goal = goal.filter(|_| !is_first).map(|goal| judged(&goal.to_string(), speed.median >= goal));
            println!(
                "| {} | {} | {} | {} | {} | {} | {} | {:.0} |",
                row.name,
                server.name,
                spread(|sample| sample.requests_per_second).with_digits(0),
                share(&speed),
                goal.unwrap_or_default(),
                spread(|sample| sample.cpu_microseconds).with_digits(1),
                share(&ratio(|sample| sample.cpu_microseconds)),
                spread(|sample| sample.resident_bytes as f64).median / 1e6,
            );
        }
    }
}
