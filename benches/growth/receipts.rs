//! What it takes to find one payment among millions that are remembered: the gate itself, in a process that has filled its
//! window cache, without the proxy around it.

use std::env;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Instant;

use farebox::gate::Verdict;
use farebox::telemetry::Outcome;
use farebox::x402::{PaymentId, header};
use futures::FutureExt as _;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::common::Spread;
use super::process::{SERVER_CORE, pinned};
use super::settled::{Common, payment, settle};
use super::shop::{Shop, fields, file};
use super::{Bench, Failure, judged, memory};

/// Payments that come again, one after the other: more than a processor's caches hold.
const PAYMENTS: usize = 10_000;

/// More than a receipt weighs: what would not fit into the memory that is left is not tried.
const BYTES_ROOM: u64 = 1_000;

/// What more receipts may take away; a look-up in more memory than the caches hold is slower for anybody.
const SHARE: f64 = 0.95;

/// The role's arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Receipts.
    count: usize,
}

/// Nanoseconds per request.
#[derive(Serialize, Deserialize)]
struct Sample {
    pass: f64,
    same: f64,
    others: f64,
    resident: u64,
}

/// A filled gate, that measures when it is told to; it goes with this value.
struct Filled {
    count: usize,
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    measured: Vec<Sample>,
}

/// Measures them in turns.
pub fn measure(bench: &Bench) -> Result<(), Failure> {
    let mut gates = Vec::new();
    for &count in &bench.args.receipts {
        if memory::available()? < u64::try_from(count)?.saturating_mul(BYTES_ROOM) {
            eprintln!("{count} receipts: there is not the memory to try");
            continue;
        }
        eprintln!("{count} receipts");
        gates.push(Filled::start(count)?);
    }
    for round in 1..=bench.args.pace.rounds {
        for gate in &mut gates {
            bench.says(round, &format!("{} receipts", gate.count));
            gate.measure()?;
        }
    }
    print(&gates);
    Ok(())
}

impl Filled {
    fn start(count: usize) -> Result<Filled, Failure> {
        let mut command = pinned(SERVER_CORE, &env::current_exe()?);
        command.args(["receipts", &count.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let orders = child.stdin.take().ok_or("a pipe")?;
        let answers = BufReader::new(child.stdout.take().ok_or("a pipe")?);
        let mut filled = Filled { count, child, orders, answers, measured: Vec::new() };
        // It is full, and has measured once that nobody counts.
        filled.measure()?;
        filled.measured.clear();
        Ok(filled)
    }

    fn measure(&mut self) -> Result<(), Failure> {
        self.orders.write_all(b"\n")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        self.measured.push(serde_json::from_str(&line)?);
        Ok(())
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            eprintln!("process {} may still run: {error}", self.child.id());
        }
    }
}

/// Fills the gate, and measures for each line that comes.
pub fn run(args: &Args) -> Result<(), Failure> {
    const ROUTE: &str = "paid-0";
    const TARGET: &str = "/paid-0/a/b";
    let shop = Shop::open(&file(5));
    // Parts of the cache fill unevenly: with a tenth more room nothing is forgotten.
    let room = (args.count + PAYMENTS) / 10 * 11;
    shop.gate.shared().receipts.resize(room);
    let common = Common::of(ROUTE)?;
    for _ in 0..args.count {
        let id = PaymentId::from_digest(&rand::random());
        shop.gate.shared().receipts.insert(id, common.receipt(rand::random()));
    }
    let signed = payment(&shop, ROUTE)?;
    let mut shown = Vec::with_capacity(PAYMENTS);
    for _ in 0..PAYMENTS {
        let other = with_another_nonce(&signed)?;
        settle(&shop, ROUTE, &other)?;
        shown.push(fields(&[("payment-signature", &other)]));
    }
    let remembered = shop.gate.shared().receipts.len();
    if remembered != args.count + PAYMENTS {
        return Err(format!("{remembered} receipts are in memory").into());
    }
    let pass = [fields(&[("farebox-pass", &shop.pass(ROUTE))])];
    let same = shown.get(..1).ok_or("a payment")?;
    let per_request = |headers: &[HeaderMap]| {
        let asked = headers.iter().cycle().take(PAYMENTS);
        let started = Instant::now();
        for headers in asked {
            // Nobody is asked and nothing is waited for: the first look at the future is the last.
            match shop.judge(black_box(TARGET), headers).now_or_never() {
                Some(Verdict::Forward(forward)) if forward.outcome == Outcome::Window => {}
                _ => return Err("a window that should be open is not"),
            }
        }
        Ok(started.elapsed().as_secs_f64() * 1e9 / (PAYMENTS) as f64)
    };
    for line in std::io::stdin().lines() {
        line?;
        let sample = Sample {
            pass: per_request(&pass)?,
            same: per_request(same)?,
            others: per_request(&shown)?,
            resident: memory::resident()?,
        };
        println!("{}", serde_json::to_string(&sample)?);
    }
    Ok(())
}

/// Well made, and signed by nobody: a payment that comes again is known by what it says, and is not checked once more.
fn with_another_nonce(payment: &str) -> Result<String, Failure> {
    let mut payment: Value = header::decode_json(payment.as_bytes())?;
    if let Some(nonce) = payment.pointer_mut("/payload/authorization/nonce") {
        *nonce = json!(alloy::hex::encode_prefixed(rand::random::<[u8; 32]>()));
    }
    Ok(header::encode_json(&payment))
}

/// Prints it as Markdown; ratios are to the first.
fn print(gates: &[Filled]) {
    let Some(first) = gates.first() else { return };
    println!("\n## Receipts in memory\n");
    println!(
        "The gate alone, ns per request; speed as a share of the speed without, and where its median lies in 95 of 100 runs.\n"
    );
    println!(
        "| receipts | pass | share | goal | the same payment | share | goal | {PAYMENTS} payments in turn | share | memory MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (at, gate) in gates.iter().enumerate() {
        let cells = |of: fn(&Sample) -> f64| {
            let share =
                Spread::of(first.measured.iter().zip(&gate.measured).map(|(base, sample)| of(base) / of(sample)));
            let goal = format!("{}, {}", judged(&SHARE.to_string(), share.median >= SHARE), share.confidence(3));
            let time = Spread::of(gate.measured.iter().map(of)).with_digits(0);
            if at == 0 { (time, "1".to_owned(), String::new()) } else { (time, share.with_digits(3), goal) }
        };
        let (pass, same, others) =
            (cells(|sample| sample.pass), cells(|sample| sample.same), cells(|sample| sample.others));
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.0} |",
            gate.count,
            pass.0,
            pass.1,
            pass.2,
            same.0,
            same.1,
            same.2,
            others.0,
            others.1,
            Spread::of(gate.measured.iter().map(|sample| sample.resident as f64)).median / 1e6,
        );
    }
}
