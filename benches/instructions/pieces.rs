//! What is counted, in sets that have something to work with in common.

use std::hint::black_box;
use std::sync::Arc;

use clap::ValueEnum;
use farebox::gate::check::check;
use farebox::gate::{Verdict, unix_millis};
use farebox::ledger::memory::MemoryLedger;
use farebox::ledger::{Ledger, NewPayment, Opening, Reservation, Transition};
use farebox::money::Amount;
use farebox::route::canonical::CanonicalTarget;
use farebox::telemetry::Outcome;
use farebox::x402::header::decode_payment;
use farebox::x402::{Dialect, Network, PaymentId};
use futures::FutureExt as _;

use super::Failure;
use super::settled::{payment, settle};
use super::shop::{HOST, Shop, fields, file};

/// One call; `false` where it did not come to what it should.
pub type Piece = Box<dyn FnMut() -> bool>;

/// What some pieces have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Set {
    /// No matter how many routes there are.
    Alone,
    /// The memory ledger; what a durable one costs is a matter of disks, and of the clock.
    Ledger,
    /// The gate with 10 routes.
    Few,
    /// The gate with 1,000 routes.
    Many,
}

impl Set {
    /// In the order of what it takes to set them up.
    pub const ALL: [Set; 4] = [Set::Alone, Set::Ledger, Set::Few, Set::Many];

    /// On the command line.
    pub fn name(self) -> &'static str {
        match self {
            Set::Alone => "alone",
            Set::Ledger => "ledger",
            Set::Few => "few",
            Set::Many => "many",
        }
    }
}

const ALONE: [&str; 6] = [
    "path as it is",
    "path with escapes",
    "challenge spliced",
    "header decoded",
    "payment checked, signature recovered",
    "pass checked",
];
const LEDGER: [&str; 3] = ["ledger in memory, found", "ledger in memory, reserved", "ledger in memory, settled"];
const GATE: [&str; 6] =
    ["route found", "free route", "challenge", "pass", "same payment again", "payment that is none"];

const FEW_ROUTES: usize = 10;
const MANY_ROUTES: usize = 1_000;

/// The names of a set's pieces.
pub fn names(set: Set) -> Vec<String> {
    match set {
        Set::Alone => ALONE.map(str::to_owned).to_vec(),
        Set::Ledger => LEDGER.map(str::to_owned).to_vec(),
        Set::Few => GATE.map(|name| with_routes(name, FEW_ROUTES)).to_vec(),
        Set::Many => GATE.map(|name| with_routes(name, MANY_ROUTES)).to_vec(),
    }
}

/// The name of each of the gate's pieces with few routes, and with many.
pub fn by_routes() -> impl Iterator<Item = (String, String)> {
    GATE.into_iter().map(|name| (with_routes(name, FEW_ROUTES), with_routes(name, MANY_ROUTES)))
}

fn with_routes(name: &str, routes: usize) -> String {
    format!("{name}, {routes} routes")
}

/// Makes a set's pieces ready, for so many calls of each.
pub fn set_up(set: Set, calls: usize) -> Result<Vec<(String, Piece)>, Failure> {
    let pieces: Vec<Piece> = match set {
        Set::Alone => alone()?.into(),
        Set::Ledger => ledger(calls)?.into(),
        Set::Few => gate(FEW_ROUTES)?.into(),
        Set::Many => gate(MANY_ROUTES)?.into(),
    };
    Ok(names(set).into_iter().zip(pieces).collect())
}

fn alone() -> Result<[Piece; ALONE.len()], Failure> {
    const ROUTE: &str = "paid-0";
    let shop = Shop::open(&file(1));
    let path = |target: &'static str| -> Piece {
        Box::new(move || CanonicalTarget::parse(black_box(target.as_bytes())).is_ok())
    };
    let header = payment(&shop, ROUTE)?;
    let paid = decode_payment(Dialect::V2, header.as_bytes()).map_err(|error| error.to_string())?;
    let index = shop.generation.config.matcher.find(HOST, "/paid-0/a", "GET").ok_or("a route")?;
    let quote = shop.generation.route(index).and_then(|live| live.quote.clone()).ok_or("a priced route")?;
    let url = "https://api.example.com/paid-0/a/b";
    let pass = shop.pass(ROUTE);
    let (checking, opening) = (shop.generation.clone(), shop.generation);
    Ok([
        path("/v1/models/large/answers?q=1"),
        path("/v1//models/%6carge/./answers?q=1"),
        Box::new(move || !quote.challenge.render(black_box(url), None).payment_required.is_empty()),
        Box::new(move || decode_payment(Dialect::V2, black_box(header.as_bytes())).is_ok()),
        Box::new(move || {
            let live = checking.route(index);
            let checked = live.map(|live| check(&checking, live, black_box(&paid), unix_millis()));
            checked.is_some_and(|checked| checked.is_ok_and(|checked| checked.signature_recovered))
        }),
        Box::new(move || opening.pass_keys.check(black_box(&pass), ROUTE, HOST, 1_800_000_000).is_ok()),
    ])
}

/// What the gate says of a request to the last of so many routes.
fn gate(routes: usize) -> Result<[Piece; GATE.len()], Failure> {
    let shop = Arc::new(Shop::open(&file(routes / 2)));
    let last = routes / 2 - 1;
    let route = format!("paid-{last}");
    // Equally long for any number of routes: a path is read byte by byte.
    let [paid, free] = [&*route, &*format!("free-{last}")].map(|first| format!("{:x<20}", format!("/{first}/a/b")));
    let same = payment(&shop, &route)?;
    settle(&shop, &route, &same)?;
    let pass = shop.pass(&route);
    let judged = |target: &str, headers: &[(&'static str, &str)], expected: Outcome| -> Piece {
        let (shop, target, headers) = (shop.clone(), target.to_owned(), fields(headers));
        Box::new(move || {
            // Nobody is asked and nothing is waited for: the first look at the future is the last.
            let outcome = match shop.judge(black_box(&target), &headers).now_or_never() {
                Some(Verdict::Answer { outcome, .. }) => outcome,
                Some(Verdict::Forward(forward)) => forward.outcome,
                None => return false,
            };
            outcome == expected
        })
    };
    let (generation, wanted) = (shop.generation.clone(), paid.clone());
    Ok([
        Box::new(move || generation.config.matcher.find(HOST, black_box(&wanted), "GET").is_some()),
        judged(&free, &[], Outcome::Free),
        judged(&paid, &[], Outcome::Challenge),
        judged(&paid, &[("farebox-pass", &pass)], Outcome::Window),
        judged(&paid, &[("payment-signature", &same)], Outcome::Window),
        judged(&paid, &[("payment-signature", "e30=")], Outcome::Malformed),
    ])
}

fn ledger(calls: usize) -> Result<[Piece; LEDGER.len()], Failure> {
    let ledger = Arc::new(MemoryLedger::default());
    let mut payments = (0..2 * calls + 1).map(new_payment);
    let known = payments.next().ok_or("a payment")??;
    let id = known.id.clone();
    reserve(&ledger, known).ok_or("a payment that is new")?;
    let mut reserved = payments.by_ref().take(calls).collect::<Result<Vec<_>, _>>()?.into_iter();
    let mut settled = payments.collect::<Result<Vec<_>, _>>()?.into_iter();
    let (finding, reserving) = (ledger.clone(), ledger.clone());
    Ok([
        Box::new(move || matches!(finding.find(black_box(&id)).now_or_never(), Some(Ok(Some(_))))),
        Box::new(move || reserved.next().and_then(|payment| reserve(&reserving, payment)).is_some()),
        Box::new(move || settled.next().and_then(|payment| deliver(&ledger, payment)).is_some()),
    ])
}

fn reserve(ledger: &MemoryLedger, payment: NewPayment) -> Option<()> {
    let reserved = ledger.reserve(payment, Opening::Reserved).now_or_never()?;
    matches!(reserved, Ok(Reservation::Fresh)).then_some(())
}

/// From reserved to delivered.
fn deliver(ledger: &MemoryLedger, payment: NewPayment) -> Option<()> {
    let id = payment.id.clone();
    reserve(ledger, payment)?;
    let settled = Transition::Settled { facilitator: "main".into(), transaction: "0x".into(), payer: None };
    for transition in [Transition::Settling, settled, Transition::Delivered] {
        ledger.advance(&id, transition, 1).now_or_never()?.ok()?;
    }
    Some(())
}

fn new_payment(number: usize) -> Result<NewPayment, Failure> {
    let mut digest = [0; 32];
    digest.split_at_mut(size_of_val(&number)).0.copy_from_slice(&number.to_be_bytes());
    Ok(NewPayment {
        id: PaymentId::from_digest(&digest),
        digest,
        route: "paid-0".into(),
        host: HOST.into(),
        payer: "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC".into(),
        network: Network::parse("base-sepolia").map_err(|error| error.to_string())?,
        asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".into(),
        amount: Amount::from(10_000),
        way: "usdc".into(),
        settle_request: "{}".into(),
        valid_before: Some(1_800_000_000),
        now: 1,
    })
}
