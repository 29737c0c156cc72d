//! What a connection weighs that nobody asks on: one that never was used, and one that has had an answer.

use std::net::TcpStream;
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::client::{ask, connect};
use super::common::Spread;
use super::farebox::Settings;
use super::process::Process;
use super::rows::{FREE, PRICED};
use super::{Bench, Failure, bare, front, payer};

/// At how many connections memory is read; the last of them is fewer where not so many files may be open.
const COUNTS: [usize; 4] = [1, 100, 1_000, 10_000];

/// That nginx makes room for.
const CONNECTIONS: usize = 16_384;

/// Files that the most connections take: Farebox takes as many as half of the files that it may open, but for some.
const FILES: u64 = 20_200;
const OTHER_FILES: u64 = 200;

/// Requests on one connection before the first reading: code is loaded, pools are made.
const WARM_UP: usize = 500;

/// So many wait to be accepted at most.
const AT_ONCE: usize = 64;

/// How long all of them may take to be accepted.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(20);

/// Who has the connections.
#[derive(Clone, Copy)]
enum Server {
    Farebox,
    Bare,
    Nginx,
}

/// What they have behind them.
#[derive(Clone, Copy)]
enum Behind {
    Nothing,
    Challenge,
    Forwarding,
}

/// One row of the table.
struct Row {
    server: Server,
    behind: Behind,
    /// Bytes of resident memory at each count, more than without connections; one list for each round.
    measured: Vec<Vec<f64>>,
    /// Resident memory with the most.
    resident: Vec<f64>,
}

/// Lets this process and those that it starts have as many connections as they may.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = |maximum| setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    // Only root may raise the maximum, and not every root: it takes CAP_SYS_RESOURCE.
    if limit.maximum.is_some_and(|maximum| maximum < FILES) && raised(Some(FILES)).is_ok() {
        return;
    }
    if let Err(error) = raised(limit.maximum) {
        eprintln!("the limit of open files cannot be raised: {error}");
    }
}

/// At how many connections memory is read here.
fn counts() -> Result<Vec<usize>, Failure> {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(FILES);
    let most = usize::try_from(files.saturating_sub(OTHER_FILES) / 2)?;
    Ok(COUNTS.into_iter().map(|count| count.min(most)).collect())
}

/// Measures each server with each kind of connection, a new process each time.
pub fn measure(bench: &Bench) -> Result<(), Failure> {
    let challenge = {
        let farebox = Settings::of(10, bench.origin.address)?.start(&bench.args.farebox, bench.folder)?;
        payer::pay_once(farebox.address)?.0
    };
    let counts = counts()?;
    let mut rows = Vec::new();
    for behind in [Behind::Nothing, Behind::Challenge, Behind::Forwarding] {
        for server in [Server::Nginx, Server::Bare, Server::Farebox] {
            rows.push(Row { server, behind, measured: Vec::new(), resident: Vec::new() });
        }
    }
    for round in 1..=bench.args.pace.rounds {
        for row in &mut rows {
            bench.says(round, &format!("idle connections, {}, {}", row.server.name(), row.behind.name()));
            let process = match row.server {
                Server::Farebox => Settings::of(10, bench.origin.address)?.start(&bench.args.farebox, bench.folder)?,
                Server::Bare => bare::start(bench.folder, bench.origin.address, &challenge)?,
                Server::Nginx => front::start_for(CONNECTIONS, bench.folder, bench.origin.address, &challenge)?,
            };
            let measured = fill(&process, row.behind, &counts)?;
            row.resident.push(process.resident_bytes()? as f64);
            row.measured.push(measured);
        }
    }
    print(&rows, &counts);
    Ok(())
}

/// More and more connections; the memory that came with them.
fn fill(server: &Process, behind: Behind, counts: &[usize]) -> Result<Vec<f64>, Failure> {
    let mut first = connect(server.address)?;
    for _ in 0..WARM_UP {
        let (challenge, forwarded) = (ask(&mut first, PRICED)?, ask(&mut first, FREE)?);
        if (challenge, forwarded) != (402, 200) {
            return Err(format!("answers that were not expected: {challenge}, {forwarded}").into());
        }
    }
    drop(first);
    let files = wait_for_files(server, |_| true)?;
    let before = server.resident_bytes()? as f64;
    let mut open: Vec<TcpStream> = Vec::new();
    let mut measured = Vec::new();
    for &count in counts {
        while open.len() < count {
            let mut stream = connect(server.address)?;
            match behind {
                Behind::Nothing => {}
                Behind::Challenge => drop(ask(&mut stream, PRICED)?),
                Behind::Forwarding => drop(ask(&mut stream, FREE)?),
            }
            open.push(stream);
            // Who comes faster than connections are accepted comes again a second later.
            if open.len().is_multiple_of(AT_ONCE) {
                wait_for_files(server, |now| now + 1 >= files + open.len())?;
            }
        }
        // The first one's file may have been closed since they were counted.
        wait_for_files(server, |now| now + 1 >= files + count)?;
        measured.push(server.resident_bytes()? as f64 - before);
    }
    Ok(measured)
}

/// Waits until the server has so many open files.
fn wait_for_files(server: &Process, enough: impl Fn(usize) -> bool) -> Result<usize, Failure> {
    let started = Instant::now();
    loop {
        let files = fs::read_dir(format!("/proc/{}/fd", server.id()))?.count();
        if enough(files) {
            return Ok(files);
        }
        if started.elapsed() > ACCEPT_TIMEOUT {
            return Err(format!("the server has only {files} open files").into());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Server::Farebox => "Farebox",
            Server::Bare => "bare proxy",
            Server::Nginx => "nginx",
        }
    }
}

impl Behind {
    fn name(self) -> &'static str {
        match self {
            Behind::Nothing => "never used",
            Behind::Challenge => "one 402 behind them",
            Behind::Forwarding => "one forwarded request behind them",
        }
    }
}

/// Prints it as Markdown.
fn print(rows: &[Row], counts: &[usize]) {
    println!("\n## Idle connections\n");
    println!("Resident KB per connection, more than without any:\n");
    let heads: Vec<_> = counts.iter().map(|count| format!(" {count} |")).collect();
    println!("| connections | |{} memory MB with the most |", heads.concat());
    println!("|---|---|{}---|", "---|".repeat(counts.len()));
    for row in rows {
        let cells = counts.iter().enumerate().map(|(at, count)| {
            let each = row.measured.iter().filter_map(|measured| measured.get(at)).map(|bytes| bytes / *count as f64);
            format!(" {} |", Spread::of(each.map(|bytes| bytes / 1e3)).with_digits(1))
        });
        println!(
            "| {} | {} |{} {} |",
            row.behind.name(),
            row.server.name(),
            cells.collect::<String>(),
            Spread::of(row.resident.iter().map(|bytes| bytes / 1e6)).with_digits(0),
        );
    }
    if let Some((most, wanted)) = counts.last().zip(COUNTS.last())
        && most < wanted
    {
        println!(
            "\n{most} were the most: {wanted} take {FILES} open files, and this process may not allow itself so many."
        );
    }
}
