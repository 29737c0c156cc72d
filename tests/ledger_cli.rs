//! `farebox ledger`, as an operator runs it: beside a gateway that holds the file open.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use farebox::ledger::sqlite::SqliteLedger;
use farebox::ledger::{Ledger, NewPayment, Opening, Transition};
use farebox::money::Amount;
use farebox::x402::{Network, PaymentId};
use serde_json::Value;

const SIGNATURE: &str = "0x5ec4e7516a7u4e";
/// 2026-11-20T12:00:00Z.
const NOON: i64 = 1_795_176_000_000;
const DAY: i64 = 86_400_000;

/// A ledger that stays open, as a gateway holds it, with three settled payments and a failed one.
struct Shop {
    folder: tempfile::TempDir,
    ledger: SqliteLedger,
}

impl Shop {
    async fn open() -> Shop {
        let folder = tempfile::tempdir().unwrap();
        let shop = Shop { ledger: SqliteLedger::open(&folder.path().join("shop.db")).unwrap(), folder };
        for (n, route, payer, at) in [
            (1, "premium", "0xAA", NOON - DAY),
            (2, "premium", "0xBB", NOON),
            (3, "basic", "0xaa", NOON + 1),
            (4, "basic", "0xBB", NOON + 2),
        ] {
            let payment = payment(n, route, payer, at);
            let id = payment.id.clone();
            shop.ledger.reserve(payment, Opening::Settling).await.unwrap();
            let end = if n == 4 {
                Transition::Failed { error: "refused\u{1b}[31m".into() }
            } else {
                Transition::Settled { facilitator: "main".into(), transaction: "0xfeed".into(), payer: None }
            };
            shop.ledger.advance(&id, end, at).await.unwrap();
        }
        shop
    }

    fn url(&self) -> String {
        url(&self.path())
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("shop.db")
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let output = farebox(&[&["ledger", "--url", &self.url()], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

fn payment(n: u64, route: &str, payer: &str, at: i64) -> NewPayment {
    NewPayment {
        id: PaymentId::parse(&format!("{n:016x}").repeat(4)).unwrap(),
        digest: [0; 32],
        route: route.into(),
        host: "localhost".into(),
        payer: payer.into(),
        network: Network::parse("base-sepolia").unwrap(),
        asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".into(),
        amount: Amount::from(10_000),
        way: "usdc".into(),
        settle_request: SIGNATURE.into(),
        valid_before: None,
        now: at,
    }
}

fn farebox(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_farebox")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[tokio::test]
async fn payments_are_listed_while_the_gateway_runs() {
    let shop = Shop::open().await;
    let table = shop.ask(&[]);
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(table.contains("2026-11-20T12:00:00Z") && table.contains("0.01 USDC"), "{table}");
    assert!(!table.contains('\u{1b}'), "a facilitator's text steers no terminal: {table:?}");

    let newest_first: Value = serde_json::from_str(&shop.ask(&["--json"])).unwrap();
    let routes: Vec<_> = newest_first.as_array().unwrap().iter().map(|row| &row["route"]).collect();
    assert_eq!(routes, ["basic", "basic", "premium", "premium"]);
    assert_eq!(newest_first[3]["amount"], "10000");
    assert_eq!(newest_first[3]["settled_at"], "2026-11-19T12:00:00.000Z");

    // The gateway goes on writing, and the next listing shows it.
    shop.ledger.reserve(payment(5, "premium", "0xCC", NOON + 3), Opening::Reserved).await.unwrap();
    assert_eq!(shop.ask(&["--csv", "--state", "reserved"]).lines().count(), 2);
}

#[tokio::test]
async fn filters_narrow_the_list() {
    let shop = Shop::open().await;
    let cases: [(&[&str], usize); 8] = [
        (&[], 4),
        (&["--state", "failed"], 1),
        (&["--route", "premium"], 2),
        (&["--payer", "0xaA"], 2),
        (&["--since", "2026-11-20"], 3),
        (&["--until", "2026-11-20T12:00:00Z"], 1),
        (&["--limit", "3"], 3),
        (&["--since", "2026-11-20T12:00:00Z", "--state", "settled", "--route", "basic"], 1),
    ];
    for (arguments, expected) in cases {
        let rows: Value = serde_json::from_str(&shop.ask(&[arguments, &["--json"]].concat())).unwrap();
        assert_eq!(rows.as_array().unwrap().len(), expected, "{arguments:?}");
    }
}

#[tokio::test]
async fn sums_are_by_route_day_and_payer() {
    let shop = Shop::open().await;
    let sums = |by: &str| -> Vec<(String, String)> {
        let rows: Value = serde_json::from_str(&shop.ask(&["--sum", by, "--json"])).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        rows.as_array().unwrap().iter().map(|row| (text(&row["group"]), text(&row["amount"]))).collect()
    };
    let pairs = |rows: &[(&str, &str)]| rows.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect::<Vec<_>>();
    assert_eq!(sums("route"), pairs(&[("basic", "10000"), ("premium", "20000")]));
    assert_eq!(sums("day"), pairs(&[("2026-11-19", "10000"), ("2026-11-20", "20000")]));
    assert_eq!(sums("payer"), pairs(&[("0xAA", "20000"), ("0xBB", "10000")]));
    assert!(shop.ask(&["--sum", "route"]).contains("0.02 USDC"));
}

#[tokio::test]
async fn no_format_shows_a_signature() {
    let shop = Shop::open().await;
    let id = PaymentId::parse(&format!("{:016x}", 9).repeat(4)).unwrap();
    shop.ledger.reserve(payment(9, "premium", "0xDD", NOON), Opening::Settling).await.unwrap();
    let unknown = Transition::Unknown { facilitator: "main".into(), transaction: None, error: "timeout".into() };
    shop.ledger.advance(&id, unknown, NOON).await.unwrap();
    for arguments in [&[][..], &["--json"], &["--csv"], &["--sum", "route"]] {
        assert!(!shop.ask(arguments).contains(SIGNATURE), "{arguments:?}");
    }
}

#[tokio::test]
async fn the_ledger_of_a_gateway_that_has_ended_is_read_too() {
    let shop = Shop::open().await;
    let path = shop.path();
    shop.ledger.close().await.unwrap();
    drop(shop.ledger);
    let output = farebox(&["ledger", "--url", &url(&path), "--csv"]);
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 5);
}

#[tokio::test]
async fn a_reader_that_leaves_early_is_no_error() {
    let shop = Shop::open().await;
    // More than a pipe holds.
    for n in 100..400 {
        shop.ledger.reserve(payment(n, "premium", "0xAA", NOON), Opening::Reserved).await.unwrap();
    }
    for format in [&["--json"][..], &["--csv"], &["--limit", "1000"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_farebox"))
            .args(["ledger", "--url", &shop.url()])
            .args(format)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{format:?}: {:?}", output.status);
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn what_cannot_be_read_is_named_and_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.db");
    let garbage = folder.path().join("garbage.db");
    std::fs::write(&garbage, "this is no database".repeat(400)).unwrap();
    for path in [&missing, &garbage, &folder.path().to_owned()] {
        let output = farebox(&["ledger", "--url", &url(path)]);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&path.display().to_string()) && said.lines().count() == 1, "{said}");
    }
    assert!(!missing.exists(), "reading makes no file");
    let config = folder.path().join("missing.toml").display().to_string();
    for arguments in [&["ledger", &config][..], &["ledger", "--url", "postgres://x"], &["ledger", "--since", "never"]] {
        assert_eq!(farebox(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
