use std::net::IpAddr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::telemetry::{AccessLine, Outcome};

/// A writer whose lines can be read afterwards.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn written(format: Format, level: &str, access: bool, act: impl FnOnce()) -> String {
    let page = Page::default();
    let writer = page.clone();
    let subscriber =
        tracing_subscriber::registry()
            .with(filter(level, access).unwrap())
            .with(lines(format, false, move || writer.clone()));
    tracing::subscriber::with_default(subscriber, act);
    page.text()
}

fn paid_line() -> AccessLine<'static> {
    AccessLine {
        method: "GET",
        host: "api.example.com",
        path: "/v1/premium/a",
        route: Some("premium"),
        outcome: Outcome::Paid,
        status: Some(200),
        bytes_sent: 512,
        duration: Duration::from_micros(12_345),
        upstream: Some(Duration::from_millis(2)),
        settle: Some(Duration::from_millis(9)),
        payer: Some("0xabc"),
        payment_id: Some("id"),
        network: Some("eip155:84532"),
        amount: Some(&10_000_u64),
        transaction: Some("0xdef"),
        client: Some(IpAddr::from([192, 0, 2, 1])),
    }
}

#[test]
fn an_access_line_in_json_has_its_fields_at_the_top() {
    let text = written(Format::Json, "info", true, || paid_line().emit());
    let mut line: Value = serde_json::from_str(text.trim()).unwrap();
    let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
    assert!(time.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{time}");
    assert_eq!(
        line,
        json!({
            "level": "INFO", "target": "farebox::access", "message": "request",
            "client": "192.0.2.1", "method": "GET", "host": "api.example.com", "path": "/v1/premium/a",
            "route": "premium", "outcome": "paid", "status": 200, "bytes_sent": 512,
            "duration_ms": 12.345, "upstream_ms": 2.0, "settle_ms": 9.0,
            "payer": "0xabc", "payment_id": "id", "network": "eip155:84532", "amount": "10000", "transaction": "0xdef",
        })
    );
}

#[test]
fn what_a_request_does_not_have_is_left_out() {
    let unmatched = AccessLine {
        route: None,
        outcome: Outcome::Unmatched,
        status: None,
        upstream: None,
        settle: None,
        payer: None,
        payment_id: None,
        network: None,
        amount: None,
        transaction: None,
        client: None,
        ..paid_line()
    };
    let text = written(Format::Json, "info", true, || unmatched.emit());
    let line: Value = serde_json::from_str(text.trim()).unwrap();
    let keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        ["bytes_sent", "duration_ms", "host", "level", "message", "method", "outcome", "path", "target", "timestamp"]
    );
}

#[test]
fn a_client_cannot_forge_a_line() {
    for format in [Format::Json, Format::Text] {
        let evil = AccessLine { host: "a\nINFO forged", path: "/\r\n\u{1b}[31m", ..paid_line() };
        let text = written(format, "info", true, || evil.emit());
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text:?}");
    }
}

#[test]
fn access_lines_follow_their_own_switch() {
    for (level, access, expected) in [
        ("info", true, true),
        ("error", true, true),
        ("off", true, true),
        ("trace", false, false),
        ("info", false, false),
    ] {
        let text = written(Format::Text, level, access, || paid_line().emit());
        assert_eq!(!text.is_empty(), expected, "level {level:?}, access {access}");
    }
}

#[test]
fn filters_are_levels_and_targets_with_levels() {
    for good in ["info", "WARN", "farebox=debug", "warn,farebox=debug,pingora_core=off", "info, farebox=trace"] {
        assert!(filter(good, true).is_ok(), "{good:?}");
    }
    for bad in ["", "inf", "farebox", "farebox=", "farebox=loud", "info,", "info,farebox", "3", "info warn"] {
        assert!(matches!(filter(bad, true), Err(LogError::Filter(_))), "{bad:?}");
    }
}

/// The only test that sets up the process's logs.
#[test]
fn records_of_the_log_crate_are_captured_and_the_filter_can_be_changed() {
    let page = Page::default();
    let settings = Settings { format: Format::Text, level: "info", access: true };
    let logs = init_on(page.clone(), false, LINES_WAITING_MAX, settings).unwrap();
    log::info!(target: "pingora_core", "one");
    log::debug!(target: "pingora_core", "two");
    logs.set_filter("pingora_core=debug", true).unwrap();
    log::debug!(target: "pingora_core", "three");
    logs.set_filter("off", true).unwrap();
    log::error!(target: "pingora_core", "four");
    assert!(logs.set_filter("nonsense", true).is_err());
    assert!(matches!(init(settings), Err(LogError::SetUpAlready)));
    drop(logs);
    let text = page.text();
    let captured: Vec<&str> = text.lines().filter(|line| line.contains("pingora_core")).collect();
    assert_eq!(captured.len(), 2, "{text}");
    assert!(captured[0].ends_with("INFO pingora_core: one"), "{text}");
    assert!(captured[1].ends_with("DEBUG pingora_core: three"), "{text}");
}

#[test]
fn lines_that_nobody_reads_are_dropped_and_counted_not_waited_for() {
    /// Blocks in its first write until it is let go.
    struct Stuck(mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let (let_go, held) = mpsc::channel();
    let (mut writer, worker) = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(4).finish(Stuck(held));
    let dropped = writer.error_counter();
    for _ in 0..100 {
        writer.write_all(b"line\n").unwrap();
    }
    // Four wait; the thread may have taken one more.
    assert!((95..=96).contains(&dropped.dropped_lines()), "{}", dropped.dropped_lines());

    let metrics = crate::telemetry::Metrics::new();
    metrics.count_dropped_lines(dropped.clone());
    let expected = format!("farebox_log_lines_dropped_total {}\n", dropped.dropped_lines());
    assert!(metrics.render().contains(&expected));
    assert!(metrics.render().contains(&expected), "a second scrape counts nothing twice");
    drop(let_go);
    drop(worker);
}
