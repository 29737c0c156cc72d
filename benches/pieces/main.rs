//! What the gate's pieces cost, one by one: `cargo bench --bench pieces`. Ratios between whole gateways are `gateway`'s.

#[path = "../../tests/support/shop.rs"]
mod shop;
#[path = "../common/sign.rs"]
mod sign;

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use farebox::config;
use farebox::gate::check::check;
use farebox::gate::unix_millis;
use farebox::ledger::memory::MemoryLedger;
use farebox::ledger::{Ledger, NewPayment, Opening};
use farebox::money::Amount;
use farebox::route::canonical::CanonicalTarget;
use farebox::x402::header::decode_payment;
use farebox::x402::{Dialect, Network, PaymentId};
use shop::{HOST, Shop, fields, file};

// As in the shipped binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Anything that ends a run.
pub type Failure = Box<dyn std::error::Error>;

const ROUTES: [usize; 3] = [10, 1_000, 100_000];

fn paths(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("canonical path");
    let as_it_is = "/v1/models/large/answers?q=1";
    for (name, target) in [("as it is", as_it_is), ("with escapes", "/v1//models/%6carge/./answers?q=1")] {
        group.bench_function(name, |bench| bench.iter(|| CanonicalTarget::parse(black_box(target.as_bytes())).is_ok()));
    }
}

/// With each number of routes: to load them, and what a request costs that is for the last of them.
fn routes(bench: &mut Criterion) {
    for count in ROUTES {
        let text = file(count / 2);
        let mut group = bench.benchmark_group(format!("{count} routes"));
        group.sample_size(10).bench_function("load", |bench| {
            bench.iter(|| config::parse(&text, "gateway.toml", Path::new("."), &|_| None).is_ok());
        });
        let shop = Shop::open(&text);
        let last = count / 2 - 1;
        let (paid, free) = (format!("/paid-{last}/a/b"), format!("/free-{last}/a/b"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        group.sample_size(100).bench_function("match", |bench| {
            bench.iter(|| shop.generation.config.matcher.find(HOST, black_box(&paid), "GET"));
        });
        let (none, pass) = (fields(&[]), fields(&[("farebox-pass", &shop.pass(&format!("paid-{last}")))]));
        for (name, target, headers) in
            [("free route", &free, &none), ("challenge", &paid, &none), ("pass", &paid, &pass)]
        {
            group.bench_function(name, |bench| bench.iter(|| runtime.block_on(shop.judge(black_box(target), headers))));
        }
    }
}

fn payments(bench: &mut Criterion) {
    let shop = Shop::open(&file(1));
    let live = shop.generation.routes().iter().find(|live| live.quote.is_some()).expect("a priced route");
    let template = &live.quote.as_ref().expect("its quote").challenge;
    let mut group = bench.benchmark_group("payment");
    group.bench_function("challenge spliced", |bench| {
        bench.iter(|| template.render(black_box("https://api.example.com/paid-0/a/b"), None));
    });
    let terms = template.render("https://api.example.com/paid-0/a/b", None).payment_required;
    let header = sign::sign(std::str::from_utf8(&terms).expect("text")).expect("a payment");
    group.bench_function("header decoded", |bench| {
        bench.iter(|| decode_payment(Dialect::V2, black_box(header.as_bytes())).is_ok());
    });
    let payment = decode_payment(Dialect::V2, header.as_bytes()).expect("a payment");
    group.bench_function("checked, signature recovered", |bench| {
        bench.iter(|| {
            check(&shop.generation, live, black_box(&payment), unix_millis())
                .is_ok_and(|checked| checked.signature_recovered)
        });
    });
    let pass = shop.pass("paid-0");
    group.bench_function("pass checked", |bench| {
        bench.iter(|| shop.generation.pass_keys.check(black_box(&pass), "paid-0", HOST, 1_800_000_000).is_ok());
    });
}

/// In memory; what a durable one costs is `ledger`'s.
fn ledger(bench: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let ledger = MemoryLedger::default();
    let payment = || NewPayment {
        id: PaymentId::from_digest(&rand::random()),
        digest: rand::random(),
        route: "paid-0".into(),
        host: HOST.into(),
        payer: "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC".into(),
        network: Network::parse("base-sepolia").expect("a network"),
        asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".into(),
        amount: Amount::from(10_000),
        way: "usdc".into(),
        settle_request: "{}".into(),
        valid_before: Some(1_800_000_000),
        now: 1,
    };
    bench.bench_function("ledger in memory/reserve", |bench| {
        let reserve = |payment| runtime.block_on(ledger.reserve(payment, Opening::Reserved)).is_ok();
        bench.iter_batched(payment, reserve, BatchSize::SmallInput);
    });
}

criterion_group!(pieces, paths, routes, payments, ledger);
criterion_main!(pieces);
