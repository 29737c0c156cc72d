use std::time::Duration;

use alloy::primitives::B256;
use alloy::signers::local::PrivateKeySigner;

use super::*;
use crate::config::{HttpFacilitator as HttpConfig, Sandbox, SandboxFailure, Secret};
use crate::facilitator::testing::{offer_on, signed_order};
use crate::facilitator::{NoObserver, Settlement};

fn sandbox(balance: &str) -> FacilitatorConfig {
    FacilitatorConfig {
        at: FacilitatorAt::Sandbox(Sandbox {
            balance: balance.parse().unwrap(),
            verify_delay: Duration::ZERO,
            settle_delay: Duration::ZERO,
            fail: SandboxFailure::Never,
        }),
    }
}

fn http(url: &str, bearer: &str) -> FacilitatorConfig {
    FacilitatorConfig {
        at: FacilitatorAt::Http(HttpConfig {
            url: url.parse().unwrap(),
            bearer: Some(Secret::new(bearer.into())),
            headers: Vec::new(),
            connect_timeout: Duration::from_secs(1),
            read_timeout: Duration::from_secs(1),
            verify_timeout: Duration::from_secs(1),
            settle_timeout: Duration::from_secs(1),
            calls_in_flight: 8,
        }),
    }
}

fn build(
    facilitators: &[(&str, FacilitatorConfig)],
    ways: &[(&str, &[&str])],
    previous: Option<&Facilitators>,
) -> Facilitators {
    let facilitators = facilitators.iter().map(|(name, config)| (Arc::from(*name), config.clone())).collect();
    let ways = ways
        .iter()
        .map(|(way, names)| {
            let facilitators = names.iter().map(|name| Arc::from(*name)).collect();
            (Arc::from(*way), Way { facilitators, facilitator_timeout: Duration::from_secs(30) })
        })
        .collect();
    Facilitators::new(&facilitators, &ways, previous, Arc::new(NoObserver)).unwrap()
}

#[tokio::test]
async fn what_did_not_change_survives_a_reload() {
    let config = [("kept", sandbox("1")), ("changed", sandbox("1")), ("gone", sandbox("1"))];
    let before = build(&config, &[("usdc", &["kept"]), ("other", &["changed"])], None);
    before.refresh().await;
    let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(0x42)).unwrap();
    for (way, nonce) in [("usdc", 1), ("other", 2)] {
        let order = signed_order(&key, B256::repeat_byte(nonce), |_| {});
        let settlement = before.pool(way).unwrap().settle(&order).await;
        assert!(matches!(settlement, Settlement::Settled { .. }), "{settlement:?}");
    }

    let config = [("kept", sandbox("1")), ("changed", sandbox("2")), ("new", sandbox("1"))];
    let after = build(&config, &[("usdc", &["new", "kept"])], Some(&before));
    assert_eq!(after.sandbox("kept").unwrap().transfers(), 1, "its books are still open");
    assert_eq!(after.sandbox("changed").unwrap().transfers(), 0, "another balance is another sandbox");
    assert!(after.sandbox("gone").is_none() && after.pool("other").is_none());
    assert!(after.pool("usdc").unwrap().is_ready_for(&offer_on("base")), "what it supports is still known");
    let names: Vec<_> = after.pool("usdc").unwrap().health().into_iter().map(|health| health.name).collect();
    assert_eq!(names, [Arc::from("new"), Arc::from("kept")], "in the order of the file");
}

#[tokio::test]
async fn health_is_told_without_secrets() {
    let url = "http://user:s3cret@127.0.0.1:1/base?key=s3cret#s3cret";
    let facilitators = build(&[("main", http(url, "s3cret")), ("toy", sandbox("1"))], &[("usdc", &["main"])], None);
    let health = facilitators.health();
    assert_eq!(health[0].url, "http://127.0.0.1:1/base");
    assert_eq!((health[0].up, health[0].last_error, health[0].asked_at), (false, None, None), "not asked yet");
    assert_eq!(health[1].url, "sandbox:");

    facilitators.refresh().await;
    let health = facilitators.health();
    assert_eq!((health[0].up, health[0].last_error, health[0].kinds), (false, Some("unreached"), None));
    assert_eq!((health[1].up, health[1].last_error), (true, None));
    assert!(health.iter().all(|health| health.asked_at.is_some()));
    assert!(!serde_json::to_string(&health).unwrap().contains("s3cret"));
}

#[test]
fn a_facilitator_that_cannot_be_built_is_named() {
    let facilitators = BTreeMap::from([(Arc::from("main"), http("http://127.0.0.1", "a\nb"))]);
    let error = Facilitators::new(&facilitators, &BTreeMap::new(), None, Arc::new(NoObserver)).err().unwrap();
    assert_eq!(error.to_string(), "facilitator main: header authorization cannot be sent");
}
