//! The gate against a reference: any order of requests that overlap, facilitators that fail, upstreams that fail, kills,
//! restarts and clocks that are set, with a few payments at once.

mod reference;

use std::time::Duration;

use futures::future::{Either, select};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use self::reference::{Dead, Kill, Money, Reference, Told};
use super::ask::{Ask, Seen, Upstream};
use super::clock::Clock;
use super::doubles::{Pause, Step as LedgerStep};
use super::stand::{Stand, forwarded};
use super::wallet::{Signed, Wallet};
use crate::facilitator::{FaultKind, Settlement, Verification};
use crate::gate::{Forward, Verdict, unix_millis};
use crate::ledger::{Ledger as _, State, UnixMillis};
use crate::x402::Reason;

const PAYMENTS: usize = 3;
/// As [`Rules::keys`] has them.
const WINDOW: UnixMillis = 60_000;
const REDELIVER: UnixMillis = 120_000;

/// How the route is configured.
#[derive(Debug, Clone, Copy)]
struct Rules {
    mode: Mode,
    window: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    OnSuccess,
    Before,
    Overlap,
}

/// What the facilitator does with a `/verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verify {
    Valid,
    Invalid,
    Fault,
}

/// What the facilitator does with a `/settle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settle {
    Settled,
    /// Moves the money, and its answer is lost.
    Lost,
    /// Neither moves nor answers.
    Silent,
    Refused,
    Unreached,
}

/// Where the gateway can be killed: before this is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    Verify,
    Settling,
    Settle,
    Settled,
    Unknown,
    Failed,
    Delivered,
}

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// A request with one of the payments; one that is forwarded may stay under way.
    Request {
        payment: usize,
        verify: Verify,
        settle: Settle,
        upstream: Upstream,
        stays: bool,
        kill: Kill,
    },
    /// The one that is under way with this payment comes to its end.
    Finish {
        payment: usize,
        settle: Settle,
        upstream: Upstream,
        kill: Kill,
    },
    /// The clock is set so many seconds forward or back.
    Clock(i64),
    Restart,
}

impl Rules {
    fn keys(self) -> String {
        let mode = match self.mode {
            Mode::OnSuccess => "on-success",
            Mode::Before => "before",
            Mode::Overlap => "overlap",
        };
        let window = if self.window { "window = \"60s\"" } else { "" };
        format!("settle = \"{mode}\"\nredeliver = \"120s\"\n{window}")
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let verify = prop_oneof![4 => Just(Verify::Valid), 1 => Just(Verify::Invalid), 1 => Just(Verify::Fault)];
    let settle = || {
        prop_oneof![
            6 => Just(Settle::Settled),
            2 => Just(Settle::Lost),
            1 => Just(Settle::Silent),
            2 => Just(Settle::Refused),
            2 => Just(Settle::Unreached),
        ]
    };
    let upstream = || {
        prop_oneof![
            4 => Just(Upstream::Answers(200)),
            1 => Just(Upstream::Answers(404)),
            2 => Just(Upstream::BreaksOff(200)),
            1 => Just(Upstream::Fails),
        ]
    };
    let kill = || {
        let points = [
            Point::Verify,
            Point::Settling,
            Point::Settle,
            Point::Settled,
            Point::Unknown,
            Point::Failed,
            Point::Delivered,
        ];
        prop::option::weighted(0.4, prop::sample::select(points.to_vec()))
    };
    let payment = || 0..PAYMENTS;
    let request = (payment(), verify, settle(), upstream(), any::<bool>(), kill()).prop_map(
        |(payment, verify, settle, upstream, stays, kill)| Step::Request {
            payment,
            verify,
            settle,
            upstream,
            stays,
            kill,
        },
    );
    let finish = (payment(), settle(), upstream(), kill()).prop_map(|(payment, settle, upstream, kill)| Step::Finish {
        payment,
        settle,
        upstream,
        kill,
    });
    // Sums of these come to no limit that a payment or a receipt has.
    let clock = prop::sample::select(vec![-25, 25, 50, 75]).prop_map(Step::Clock);
    let step = prop_oneof![10 => request, 5 => finish, 1 => clock, 1 => Just(Step::Restart)];
    prop::collection::vec(step, 1..40)
}

/// A gateway that can be killed: whatever runs in it runs on its runtime, and ends with that.
struct Gateway {
    runtime: Runtime,
    stand: Stand,
    payments: Vec<Payment>,
}

struct Payment {
    signed: Signed,
    under_way: Option<Box<Forward>>,
    reference: Reference,
}

/// Its time passes when nothing else happens: who waits for a request that stays waits in vain, and at once.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

impl Gateway {
    fn start(rules: Rules) -> Gateway {
        let runtime = runtime();
        let stand = runtime.block_on(Stand::paid(&rules.keys()));
        let payment = |_| {
            // The facilitator's clock is not set.
            let signed = Wallet::new().sign(&stand.offer("paid"), |authorization| authorization.valid_after = 0);
            let valid_before = i64::try_from(signed.authorization.valid_before).unwrap() * 1000;
            let reference = Reference { rules, valid_before, money: Money::Free, moved: false, flight: None };
            Payment { signed, under_way: None, reference }
        };
        let payments = (0..PAYMENTS).map(payment).collect();
        Gateway { runtime, stand, payments }
    }

    fn restart(&mut self) {
        // First what runs, so that nothing is written down on the way out.
        self.runtime = runtime();
        for payment in &mut self.payments {
            payment.under_way = None;
            payment.reference.restart();
        }
        self.stand = self.stand.restarted();
        self.runtime.block_on(self.stand.ledger.recover(unix_millis())).unwrap();
    }

    fn pause(&self, point: Point) -> std::sync::Arc<Pause> {
        let step = match point {
            Point::Verify => return self.stand.facilitator.pause_verify(),
            Point::Settle => return self.stand.facilitator.pause_settle(),
            Point::Settling => LedgerStep::Settling,
            Point::Settled => LedgerStep::Settled,
            Point::Unknown => LedgerStep::Unknown,
            Point::Failed => LedgerStep::Failed,
            Point::Delivered => LedgerStep::Delivered,
        };
        self.stand.ledger.pause_at(step)
    }

    /// Runs this until it has come to rest, or is killed.
    fn run<T>(&self, settle: Settle, kill: Kill, work: impl Future<Output = T>) -> Result<T, Dead> {
        let facilitator = &self.stand.facilitator;
        match settle {
            Settle::Settled => {}
            Settle::Lost => facilitator.lose_next_answer(),
            Settle::Silent => facilitator.settle_next(Settlement::Unknown {
                facilitator: "main".into(),
                transaction: None,
                detail: "told to say nothing".to_owned(),
            }),
            Settle::Refused => facilitator.settle_next(Settlement::Refused {
                reason: Reason::InsufficientFunds,
                detail: "told to refuse".into(),
            }),
            Settle::Unreached => {
                facilitator.settle_next(Settlement::NotSent { fault: facilitator.fault(FaultKind::Unreached) });
            }
        }
        let outcome = self.runtime.block_on(async {
            let work = async {
                let done = work.await;
                self.stand.rest().await;
                done
            };
            let Some(point) = kill else { return Ok(work.await) };
            let pause = self.pause(point);
            match select(Box::pin(work), Box::pin(pause.reached())).await {
                Either::Left((done, _)) => Ok(done),
                Either::Right(_) => Err(Dead),
            }
        });
        facilitator.forget();
        self.stand.ledger.forget();
        outcome
    }

    fn request(&mut self, step: &Step) {
        let Step::Request { payment, verify, settle, upstream, stays, kill } = *step else { return };
        let now = unix_millis();
        let facilitator = &self.stand.facilitator;
        match verify {
            Verify::Valid => {}
            Verify::Invalid => facilitator.verify_next(Ok(Verification::Invalid {
                reason: Reason::InsufficientFunds,
                detail: "told to refuse".into(),
            })),
            Verify::Fault => facilitator.verify_next(Err(facilitator.fault(FaultKind::Timeout))),
        }
        let stays = stays && self.payments[payment].under_way.is_none();
        let ask = Ask::get("/paid").paying(&self.payments[payment].signed);
        let stand = self.stand.clone();
        let happened = self.run(settle, kill, async move {
            match stand.decide(&ask).await {
                Verdict::Forward(forward) if stays => Ok(forward),
                Verdict::Forward(forward) => Err(told(&forwarded(*forward, upstream).await)),
                Verdict::Answer { answer, .. } => Err(Told { status: answer.status.as_u16(), served: false }),
            }
        });
        let reference = &mut self.payments[payment].reference;
        let expected = reference.begin(now, verify, settle, kill).and_then(|begun| match begun {
            Ok(flight) if stays => Ok(Ok(flight)),
            Ok(flight) => reference.finish(flight, now, upstream, settle, kill).map(Err),
            Err(told) => Ok(Err(told)),
        });
        match (happened, expected) {
            (Err(Dead), Err(Dead)) => self.restart(),
            (Ok(Err(told)), Ok(Err(expected))) => assert_eq!(told, expected, "{step:?}"),
            (Ok(Ok(forward)), Ok(Ok(flight))) => {
                self.payments[payment].under_way = Some(forward);
                self.payments[payment].reference.flight = Some(flight);
            }
            (happened, expected) => {
                let happened = happened.map(|happened| happened.err()).ok();
                panic!("{step:?}: {happened:?}, not {:?}", expected.ok());
            }
        }
    }

    fn finish(&mut self, step: &Step) {
        let Step::Finish { payment, settle, upstream, kill } = *step else { return };
        let Some(forward) = self.payments[payment].under_way.take() else { return };
        let now = unix_millis();
        let flight = self.payments[payment].reference.flight.take().expect("under way in the reference, too");
        let happened = self.run(settle, kill, async move { told(&forwarded(*forward, upstream).await) });
        let expected = self.payments[payment].reference.finish(flight, now, upstream, settle, kill);
        match (happened, expected) {
            (Err(Dead), Err(Dead)) => self.restart(),
            (Ok(told), Ok(expected)) => assert_eq!(told, expected, "{step:?}"),
            (happened, expected) => panic!("{step:?}: {:?}, not {:?}", happened.ok(), expected.ok()),
        }
    }

    /// The ledger and the facilitator's books, against the reference.
    fn compare(&self, step: &Step) {
        let moved = self.payments.iter().filter(|payment| payment.reference.moved).count();
        assert_eq!(self.stand.transfers(), moved as u64, "{step:?}: moved");
        for Payment { signed, reference, .. } in &self.payments {
            let record = self.runtime.block_on(self.stand.ledger.record(&signed.id()));
            let state = record.as_ref().map(|record| record.state).filter(|state| *state != State::Failed);
            assert_eq!(state, reference.state(), "{step:?}");
            let is_delivered = record.is_some_and(|record| record.delivered_at.is_some());
            assert_eq!(is_delivered, matches!(reference.money, Money::Settled { delivered: true, .. }), "{step:?}");
        }
    }
}

fn told(seen: &Seen) -> Told {
    Told { status: seen.status, served: seen.served }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_money_rules_hold(
        mode in prop::sample::select(vec![Mode::OnSuccess, Mode::Before, Mode::Overlap]),
        window in any::<bool>(),
        steps in steps(),
    ) {
        let clock = Clock::hold();
        let mut gateway = Gateway::start(Rules { mode, window });
        for step in &steps {
            match *step {
                Step::Request { .. } => gateway.request(step),
                Step::Finish { .. } => gateway.finish(step),
                Step::Clock(seconds @ 0..) => clock.forward(Duration::from_secs(seconds.unsigned_abs())),
                Step::Clock(seconds) => clock.back(Duration::from_secs(seconds.unsigned_abs())),
                Step::Restart => gateway.restart(),
            }
            gateway.compare(step);
        }
    }
}
