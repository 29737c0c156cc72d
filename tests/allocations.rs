//! How often a request makes the gate, and the whole gateway, ask for memory: a handful of times, however many routes
//! there are.

#[path = "support/shop.rs"]
mod shop;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use allocation_counter::measure;
use farebox::config;
use farebox::gate::Verdict;
use farebox::ledger::memory::MemoryLedger;
use farebox::proxy::house::{Foundation, House};
use farebox::proxy::server::{self, Listeners, Signals};
use farebox::telemetry::{Metrics, Outcome};
use shop::{HOST, Shop, fields, file};

/// How often the gate allocates to judge a request, once it has judged one like it.
fn allocations(shop: &Shop, target: &str, headers: &[(&'static str, &str)], expected: Outcome) -> u64 {
    let headers = fields(headers);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let judge = || {
        let outcome = match runtime.block_on(shop.judge(target, &headers)) {
            Verdict::Answer { outcome, .. } => outcome,
            Verdict::Forward(forward) => forward.outcome,
        };
        assert_eq!(outcome, expected, "{target}");
    };
    judge();
    measure(judge).count_total
}

#[test]
fn a_request_costs_a_handful_of_allocations_however_many_routes_there_are() {
    let mut counted = Vec::new();
    for (routes, last) in [(10, 9), (1000, 100), (1000, 999)] {
        let shop = Shop::open(&file(routes));
        let (paid, free) = (format!("/paid-{last}/a/b?q=1"), format!("/free-{last}/a?q=1"));
        let pass = shop.pass(&format!("paid-{last}"));
        counted.push([
            ("a free route", allocations(&shop, &free, &[], Outcome::Free)),
            ("a challenge", allocations(&shop, &paid, &[], Outcome::Challenge)),
            ("a pass", allocations(&shop, &paid, &[("farebox-pass", &pass)], Outcome::Window)),
            ("a payment that is none", allocations(&shop, &paid, &[("x-payment", "e30=")], Outcome::Malformed)),
        ]);
    }
    assert!(counted.iter().all(|counts| *counts == counted[0]), "{counted:?}");
    // docs/performance.md has these numbers.
    for ((what, count), most) in counted[0].into_iter().zip([1, 4, 2, 17]) {
        assert!(count <= most, "{what}: {count} allocations, and {most} were enough");
    }
}

/// How often a gateway allocates from its start to its end, with so many unpaid requests over one connection in between.
fn allocations_of_a_run(config: &str, requests: usize) -> u64 {
    let config = config::parse(config, "gateway.toml", Path::new("."), &|_| None).expect("a config").config;
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listeners = Listeners::bind(&[loopback], &[], None).expect("a port");
    let address = listeners.public[0].local_addr().expect("its address");
    let runtime = server::runtime(Some(1)).expect("a runtime");
    let (done, end) = tokio::sync::oneshot::channel::<()>();
    // On a thread of its own, what the client allocates is not counted.
    let client = std::thread::spawn(move || {
        let mut connection = connection(address);
        (0..requests).for_each(|_| ask(&mut connection));
        let _ = done.send(());
    });
    let run = || {
        runtime.block_on(async {
            let signals = Signals::receive().expect("signals");
            let ledger = Arc::new(MemoryLedger::default());
            let foundation = Foundation { config, file: None, ledger, metrics: Metrics::new(), logs: None };
            let house = House::build(foundation).await.expect("a house");
            server::serve(house, listeners, signals, async { drop(end.await) }).await
        });
    };
    let counted = measure(run).count_total;
    client.join().expect("every request answered");
    counted
}

fn connection(address: SocketAddr) -> BufReader<TcpStream> {
    BufReader::new(TcpStream::connect(address).expect("connected"))
}

fn ask(connection: &mut BufReader<TcpStream>) {
    let request = format!("GET /paid-9/a/b?q=1 HTTP/1.1\r\nHost: {HOST}\r\nAccept: */*\r\nUser-Agent: test\r\n\r\n");
    connection.get_mut().write_all(request.as_bytes()).expect("sent");
    let mut length = 0;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        connection.read_line(&mut line).expect("a head");
        let (name, value) = line.split_once(':').unwrap_or(("", ""));
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().expect("a length");
        }
    }
    connection.read_exact(&mut vec![0; length]).expect("a body");
}

#[test]
fn a_challenge_costs_the_whole_gateway_a_handful_of_allocations() {
    let counted = [10, 1000].map(|routes| {
        let config = file(routes);
        let [few, many] = [100, 1100].map(|requests| allocations_of_a_run(&config, requests));
        // Its start allocates now and then once more or less.
        (many - few + 500) / 1000
    });
    // docs/performance.md has this number.
    assert!(counted[0] == counted[1] && counted[0] <= 9, "{counted:?} allocations");
}
