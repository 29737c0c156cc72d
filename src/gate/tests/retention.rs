//! What is forgotten of old payments makes none of them good again.

use std::time::Duration;

use super::MODES;
use super::ask::{Ask, Upstream};
use super::clock::Clock;
use super::stand::Stand;
use super::wallet::Wallet;
use crate::gate::unix_millis;
use crate::ledger::Ledger;
use crate::telemetry::Outcome;

const HOUR: Duration = Duration::from_secs(3600);
/// The shortest that a config may say.
const KEEP: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_payment_is_refused_the_same_before_and_after_its_row_is_pruned() {
    // A payer signs for as long as it likes: the minute that it is asked for, or days.
    for (mode, seconds) in MODES.into_iter().zip([60, 3600, 60 * 3600]) {
        for (upstream, delivered) in [(Upstream::Answers(200), true), (Upstream::BreaksOff(200), false)] {
            let clock = Clock::hold();
            let stand = Stand::paid(&format!("settle = \"{mode}\"\nwindow = \"1h\"\nredeliver = \"24h\"")).await;
            let now = u64::try_from(unix_millis() / 1000).unwrap();
            let signed = Wallet::new().sign(&stand.offer("paid"), |terms| terms.valid_before = now + seconds);
            let ask = Ask::get("/paid").paying(&signed);
            assert_eq!(stand.visit(&ask, upstream).await.served, delivered);
            let calls = (stand.facilitator.verifies(), stand.facilitator.settles());

            let mut kept_for = 0;
            for hour in 1..100 {
                clock.forward(HOUR);
                let until = unix_millis() - i64::try_from(KEEP.as_millis()).unwrap();
                stand.ledger.prune(until, 10).await.unwrap();
                if stand.ledger.record(&signed.id()).await.is_some() {
                    kept_for = hour;
                }
                // Each time by a gateway that remembers nothing but the ledger.
                let seen = stand.restarted().visit(&ask, Upstream::BreaksOff(200)).await;
                let case = format!("{mode}, good for {seconds} s, delivered {delivered}, after {hour} hours");
                let owed = !delivered && hour < 24;
                assert_eq!(seen.forwarded, owed, "{case}");
                assert_eq!(seen.outcome, if owed { Outcome::Redelivered } else { Outcome::Refused }, "{case}");
                assert_eq!((stand.facilitator.verifies(), stand.facilitator.settles()), calls, "{case}");
            }
            assert_eq!(stand.transfers(), 1);
            // A day longer than it was good for, and no longer.
            assert_eq!(kept_for, 23 + seconds.div_ceil(3600).max(1), "{mode}");
        }
    }
}
