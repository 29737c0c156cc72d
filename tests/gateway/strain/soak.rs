//! Minutes of mixed traffic with a new file every second, under a facilitator and an upstream that go wrong; then
//! everybody settles up, and four records agree to the unit: the ledger's, the facilitator's, the clients' and the metrics'.
//!
//! `FAREBOX_SOAK_SECONDS` is how long (1200 for the long run), `FAREBOX_SOAK_SEED` repeats the throws of a run: who does
//! what, not when. `tests/soak` runs it for 20 minutes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::town::{Books, Town};
use super::visitor::{End, Street, Tale, USES, Visitor, WINDOWS};
use super::{mib, number};
use crate::support::setup::PAY_TO;
use crate::support::usage::Usage;
use crate::support::{Gateway, Setup, eventually};

/// By default; traffic that is paced, so that other tests hardly notice it.
const SECONDS: u64 = 120;
const VISITORS: usize = 16;
const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
/// In atomic units, and as the file has them: the prices that each route changes between.
const PRICES: [&str; 4] = ["0.01", "0.02", "0.005", "0.003"];
/// Each mode, then the windows.
const ROUTES: [(&str, &str); 7] = [
    ("on-success", "settle = \"on-success\""),
    ("local", "settle = \"on-success\"\nverify = \"local\""),
    ("before", "settle = \"before\""),
    ("overlap", "settle = \"overlap\""),
    ("window-on-success", "window = { for = \"10s\", uses = 4 }"),
    ("window-before", "settle = \"before\"\nwindow = { for = \"10s\", uses = 4 }"),
    ("window-overlap", "settle = \"overlap\"\nwindow = { for = \"10s\", uses = 4 }"),
];
/// Comes and goes with the files.
const EXTRA: (&str, &str) = ("extra", "settle = \"on-success\"");
/// After the street has closed: a payment that nobody can settle any more fails when its half minute is over.
const LAST_ORDERS: Duration = Duration::from_secs(180);
/// Resident memory may grow by so much between the second quarter of the run and its last one. Both are medians over
/// many looks. What may still grow then: the ledger's pages in SQLite's cache (2 MiB a connection at most), receipts (100,000
/// at most, some hundred bytes each), and the allocator's own slack.
const GROWTH_SHARE: u64 = 10;
const GROWTH_BYTES: u64 = 6 * 1024 * 1024;

#[tokio::test]
async fn after_minutes_of_everything_at_once_all_records_agree_and_memory_is_flat() {
    let seconds = number("FAREBOX_SOAK_SECONDS").unwrap_or(SECONDS);
    let seed = number("FAREBOX_SOAK_SEED").unwrap_or_else(rand::random);
    eprintln!("FAREBOX_SOAK_SEED={seed} FAREBOX_SOAK_SECONDS={seconds} repeats this run");
    let mut random = StdRng::seed_from_u64(seed);

    let town = Town::found(random.random(), USDC).await;
    let mut files = Files { town: &town, number: 0, random: StdRng::from_rng(&mut random) };
    let gateway = Gateway::start(files.last()).await;
    let street = Arc::new(Street {
        gateway: gateway.address(),
        routes: ROUTES.iter().chain([&EXTRA]).map(|(name, _)| (*name).to_owned()).collect(),
        closes: AtomicBool::new(false),
        tales: Mutex::default(),
        counts: Mutex::default(),
        open: Mutex::default(),
    });
    let mut visitors = JoinSet::new();
    for _ in 0..VISITORS {
        visitors.spawn(Visitor::new(street.clone(), StdRng::from_rng(&mut random)).stroll());
    }

    let (mut looks, mut applied, mut refused) = (Vec::new(), 0, 0);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(1)).await;
        town.books.tick();
        let (text, is_good) = files.next(&gateway);
        gateway.rewrite_text(&text);
        assert_eq!(gateway.reload().await.json()["ok"], is_good, "{text}");
        if is_good {
            applied += 1
        } else {
            refused += 1
        }
        looks.push(gateway.usage());
        // One that has panicked ends the run.
        while let Some(ended) = visitors.try_join_next() {
            ended.expect("a visitor");
        }
    }

    // Everybody does as he should, and whoever has a payment open carries it through.
    town.books.be_good();
    gateway.rewrite_text(&gateway.render(&files.last()));
    assert_eq!(gateway.reload().await.json()["ok"], true);
    street.closes.store(true, Ordering::Relaxed);
    let ends = async {
        while let Some(ended) = visitors.join_next().await {
            ended.expect("a visitor");
        }
    };
    let ticks = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            town.books.tick();
        }
    };
    let all = async {
        tokio::select! { () = ends => {}, () = ticks => {} }
    };
    if tokio::time::timeout(LAST_ORDERS, all).await.is_err() {
        panic!("payments that nobody can say anything of: {:#?}", street.open.lock().expect("open"));
    }

    let tales = std::mem::take(&mut *street.tales.lock().expect("tales"));
    let Run { ledger, revenue } = settle_up(&gateway).await;
    let reloads = gateway.metrics().await;
    // The first file and the last one besides.
    assert!(reloads.sum("farebox_reloads_total", &[("result", "applied")]) >= f64::from(applied + 1));
    assert!(reloads.sum("farebox_reloads_total", &[("result", "refused")]) >= f64::from(refused));
    let books = town.close().await;
    everything_is_closed(&gateway, looks.first().expect("a look")).await;
    report(&street, &books, &tales, &looks, &gateway.usage(), applied, refused);
    compare(&tales, &ledger, &books, revenue);
    memory_is_flat(&looks);
    let said = gateway.stderr();
    assert!(!said.contains("panicked"), "{said}");
}

/// The file, again and again another one.
struct Files<'a> {
    town: &'a Town,
    number: usize,
    random: StdRng,
}

impl Files<'_> {
    /// Everything is there, at its first price.
    fn last(&self) -> Setup {
        self.setup(false, true, |_| PRICES[0])
    }

    /// The next one's text, and whether it is right.
    fn next(&mut self, gateway: &Gateway) -> (String, bool) {
        self.number += 1;
        let (deserted, has_extra) = (self.random.random_ratio(1, 10), self.random.random());
        let prices: Vec<&str> =
            (0..=ROUTES.len()).map(|_| *PRICES.choose(&mut self.random).expect("a price")).collect();
        let setup = self.setup(deserted, has_extra, |route| prices[route]);
        let text = format!("# file {}\n{}", self.number, gateway.render(&setup));
        match self.random.random_range(0..20) {
            0 => (text.replace("settle =", "setle ="), false),
            1 => (format!("{text}\n[[route]\n"), false),
            _ => (text, true),
        }
    }

    fn setup<'p>(&self, deserted: bool, has_extra: bool, price: impl Fn(usize) -> &'p str) -> Setup {
        let facilitator = self.town.facilitator();
        let upstream = if deserted { self.town.deserted() } else { self.town.upstream() };
        let timeouts = "verify_timeout = \"1s\"\nsettle_timeout = \"1s\"";
        let mut setup = Setup::at(upstream, &format!("url = \"http://{facilitator}\"\n{timeouts}"))
            .upstream("read_timeout = \"2s\"")
            .sections(&format!(
                "[log]\naccess = false\nlevel = \"error,pingora_proxy=off\"\n\
                 [facilitators.spare]\nurl = \"http://{facilitator}\"\n{timeouts}\n\
                 [networks.base-sepolia]\nrpc_url = \"{}\"\nconfirmations = 1\n\
                 [pay.quick]\nnetwork = \"base-sepolia\"\nasset = \"USDC\"\npay_to = \"{PAY_TO}\"\n\
                 facilitators = [\"main\", \"spare\"]\nmax_timeout = \"30s\"\n",
                self.town.node()
            ))
            .route("free", "/free/*", "price = \"free\"");
        for (at, (name, keys)) in ROUTES.iter().chain(has_extra.then_some(&EXTRA)).enumerate() {
            let keys = format!("price = {{ quick = \"{}\" }}\n{keys}", price(at));
            setup = setup.route(name, &format!("/{name}/*"), &keys);
        }
        setup
    }
}

/// What the gateway says in the end.
struct Run {
    /// By payer.
    ledger: HashMap<String, Line>,
    revenue: f64,
}

/// A payment as `farebox ledger export --json` has it.
#[derive(Debug, Clone)]
struct Line {
    id: String,
    state: String,
    amount: u64,
    route: String,
    is_delivered: bool,
}

/// What is in flight ends; then the ledger and the metrics are read.
async fn settle_up(gateway: &Gateway) -> Run {
    let metrics = eventually("everything in flight to end", async || {
        let metrics = gateway.metrics().await;
        let rests = metrics.sum("farebox_in_flight_requests", &[]) == 0.0
            && metrics.sum("farebox_unsettled_payments", &[]) == 0.0;
        rests.then_some(metrics)
    })
    .await;
    let lines = gateway.export();
    let ledger = lines.iter().map(|line| {
        let text = |key: &str| line[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}")).to_owned();
        let entry = Line {
            id: text("id"),
            state: text("state"),
            amount: text("amount").parse().expect("an amount"),
            route: text("route"),
            is_delivered: !line["delivered_at"].is_null(),
        };
        (text("payer"), entry)
    });
    let ledger: HashMap<_, _> = ledger.collect();
    assert_eq!(ledger.len(), lines.len(), "one line for each payer, who pays once");
    Run { ledger, revenue: metrics.sum("farebox_revenue_atomic_total", &[]) }
}

fn compare(tales: &[Tale], ledger: &HashMap<String, Line>, books: &Books, revenue: f64) {
    let mut ids = books.ids();
    let mut wrong: Vec<String> = Vec::new();
    let (mut charged, mut recorded) = (0, 0);
    for tale in tales {
        let (moved, line, hits) = (books.moved(&tale.payer), ledger.get(&tale.payer), ids.remove(&tale.payer));
        let settled = line.is_some_and(|line| line.state == "settled");
        let has_window = tale.route.starts_with(WINDOWS);
        let is_owed = settled && !line.is_some_and(|line| line.is_delivered);
        let most = if has_window { USES } else { 1 };
        let rules = [
            ("charged at most once", moved.len() <= 1),
            ("charged what was signed", moved.iter().all(|amount| *amount == tale.amount)),
            ("the ledger has what was signed", line.is_none_or(|line| line.amount == tale.amount)),
            ("the ledger has the route", line.is_none_or(|line| line.route == tale.route)),
            ("charged, and settled in the ledger", settled == (moved.len() == 1)),
            ("nothing is open", line.is_none_or(|line| ["settled", "failed"].contains(&line.state.as_str()))),
            ("served only if charged", tale.served == 0 || settled),
            ("served no more than was paid for", tale.served <= most),
            ("charged only if served", !is_owed && (tale.end == End::Served || !settled || tale.hung_up)),
            ("served in the end", tale.end != End::Served || tale.served > 0),
            (
                "one id for the upstream, the ledger's",
                hits.as_ref().is_none_or(|hits| line.is_some_and(|line| hits == std::slice::from_ref(&line.id))),
            ),
            ("what was served came from the upstream", tale.served == 0 || hits.is_some()),
        ];
        let broken = rules.iter().filter(|(_, holds)| !holds).map(|(rule, _)| *rule);
        wrong.extend(broken.map(|rule| format!("{rule}: {tale:?}, moved {moved:?}, {line:?}, {hits:?}")));
        charged += if tale.end == End::Served { tale.amount } else { 0 };
        recorded += line.filter(|line| line.state == "settled").map_or(0, |line| line.amount);
    }
    let hung_up_on: u64 =
        tales.iter().filter(|tale| tale.end != End::Served).flat_map(|tale| books.moved(&tale.payer)).sum();
    assert!(wrong.is_empty(), "{} of {} payments: {wrong:#?}", wrong.len(), tales.len());
    assert_eq!(books.strangers(), Vec::<String>::new(), "requests that should not have come to the upstream");
    assert!(ids.is_empty(), "payers at the upstream whom nobody knows: {ids:?}");
    let payers: HashSet<_> = tales.iter().map(|tale| &tale.payer).collect();
    assert!(ledger.keys().all(|payer| payers.contains(payer)), "payers whom nobody knows");
    assert_eq!(recorded, books.moved_in_all(), "the ledger and the facilitator");
    assert_eq!(charged + hung_up_on, recorded, "the clients and the ledger");
    assert_eq!(revenue, recorded as f64, "the metrics and the ledger");
    assert!(tales.iter().filter(|tale| tale.end == End::Served).count() > tales.len() / 2, "most are served");
}

/// With everybody gone, nothing is left but what was there before anybody came: no connection, no thread.
async fn everything_is_closed(gateway: &Gateway, early: &Usage) {
    // Two listeners, and what the runtime has of its own.
    let closed = async {
        while gateway.usage().sockets > LISTENING {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(IDLE_AT_MOST, closed).await.is_err() {
        panic!("connections are left (/proc/net/tcp): {:#?}", gateway.connections());
    }
    assert!(gateway.usage().threads <= early.threads + BLOCKING_THREADS, "{:?}, {early:?}", gateway.usage());
}

/// Two listeners and the two ends by which the runtime hears of signals, for each of the two runtimes.
const LISTENING: usize = 8;
/// Longer than any connection is kept that nobody uses: a port of the town's may be another test's by then, which keeps its end
/// open.
const IDLE_AT_MOST: Duration = Duration::from_secs(120);
/// Threads that a runtime starts for blocking work and ends when they have been idle.
const BLOCKING_THREADS: u64 = 16;

fn memory_is_flat(looks: &[Usage]) {
    let quarter = looks.len() / 4;
    let (early, late) = (median(&looks[quarter..2 * quarter]), median(&looks[3 * quarter..]));
    assert!(
        late <= early + early / GROWTH_SHARE + GROWTH_BYTES,
        "resident memory grew from {} in the second quarter to {} in the last",
        mib(early),
        mib(late)
    );
}

fn median(looks: &[Usage]) -> u64 {
    let mut resident: Vec<_> = looks.iter().map(|look| look.resident).collect();
    resident.sort_unstable();
    resident[resident.len() / 2]
}

fn report(street: &Street, books: &Books, tales: &[Tale], looks: &[Usage], end: &Usage, applied: u32, refused: u32) {
    let quarters: Vec<_> = looks.chunks(looks.len().div_ceil(4)).map(|looks| mib(median(looks))).collect();
    let peak = looks.iter().map(|look| look.peak).max().unwrap_or_default();
    let first = looks.first().map_or(0, |look| look.resident);
    println!(
        "resident memory: first {}, quarters {quarters:?}, peak {}, end {}",
        mib(first),
        mib(peak),
        mib(end.resident)
    );
    println!("sockets at the end: {}; threads: {}", end.sockets, end.threads);
    println!("files: {applied} applied, {refused} refused");
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for tale in tales {
        *ends.entry(format!("{:?}", tale.end)).or_default() += 1;
    }
    println!("payments: {}, by their ends: {ends:#?}", tales.len());
    println!("moved: {} atomic units", books.moved_in_all());
    println!("requests: {:#?}", street.counts.lock().expect("counts"));
    let faults = books.faults();
    println!("faults: {} of {} kinds: {faults:#?}", faults.values().sum::<usize>(), faults.len());
}
