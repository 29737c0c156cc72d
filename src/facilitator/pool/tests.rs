use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::*;
use crate::facilitator::member::SET_ASIDE;
use crate::facilitator::testing::{offer_on, order};
use crate::facilitator::{Facilitator, NoObserver, Operation, Supported, SupportedKind};
use crate::x402::Reason;

/// Answers what it is told to and counts how often it was asked.
struct Scripted {
    name: Arc<str>,
    script: Mutex<Script>,
}

#[derive(Clone)]
struct Script {
    kinds: Result<Vec<SupportedKind>, FaultKind>,
    verify: Result<(), FaultKind>,
    settle: Outcome,
    verified: usize,
    settled: usize,
}

#[derive(Clone, Copy)]
enum Outcome {
    Settled,
    Refused,
    Unknown,
    NotSent(FaultKind),
}

impl Scripted {
    fn new(name: &str, kinds: &[(u8, &str)]) -> Arc<Scripted> {
        let kinds = kinds.iter().map(|(version, network)| kind(*version, network, json!({}))).collect();
        let script = Script { kinds: Ok(kinds), verify: Ok(()), settle: Outcome::Settled, verified: 0, settled: 0 };
        Arc::new(Scripted { name: name.into(), script: Mutex::new(script) })
    }

    fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn asked(&self) -> (usize, usize) {
        let script = self.script.lock().unwrap();
        (script.verified, script.settled)
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        Fault { facilitator: self.name.clone(), kind, detail: "told to".into() }
    }
}

#[async_trait]
impl Facilitator for Scripted {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    async fn verify(&self, _order: &Order) -> Result<Verification, Fault> {
        let mut script = self.script.lock().unwrap();
        script.verified += 1;
        script.verify.map(|()| Verification::Valid { payer: None }).map_err(|kind| self.fault(kind))
    }

    async fn settle(&self, _order: &Order) -> Settlement {
        let mut script = self.script.lock().unwrap();
        script.settled += 1;
        let facilitator = self.name.clone();
        match script.settle {
            Outcome::Settled => Settlement::Settled { facilitator, transaction: "0x01".into(), payer: None },
            Outcome::Refused => Settlement::Refused { reason: Reason::InsufficientFunds, detail: String::new() },
            Outcome::Unknown => Settlement::Unknown { facilitator, transaction: None, detail: String::new() },
            Outcome::NotSent(kind) => Settlement::NotSent { fault: self.fault(kind) },
        }
    }

    async fn supported(&self) -> Result<Supported, Fault> {
        let script = self.script.lock().unwrap();
        script.kinds.clone().map(|kinds| Supported { kinds }).map_err(|kind| self.fault(kind))
    }
}

fn kind(x402_version: u8, network: &str, extra: Value) -> SupportedKind {
    let extra = extra.as_object().cloned().unwrap();
    SupportedKind { x402_version, scheme: "exact".into(), network: network.into(), extra }
}

const TIMEOUT: Duration = Duration::from_secs(30);
const CALLS_MAX: usize = 2;
const BOTH: [(u8, &str); 2] = [(2, "eip155:84532"), (1, "base-sepolia")];

/// A pool whose members have been asked what they support.
async fn pool(members: &[&Arc<Scripted>]) -> Pool {
    let pool = unasked(members, Arc::new(NoObserver));
    pool.refresh().await;
    pool
}

fn unasked(members: &[&Arc<Scripted>], observer: Arc<dyn Observer>) -> Pool {
    let members = members
        .iter()
        .map(|scripted| Arc::new(Member::new((*scripted).clone(), format!("http://{}", scripted.name), CALLS_MAX)))
        .collect();
    Pool::new("usdc".into(), members, TIMEOUT, observer)
}

fn settled_by(settlement: &Settlement) -> &str {
    match settlement {
        Settlement::Settled { facilitator, .. } => facilitator,
        Settlement::Refused { .. } | Settlement::NotSent { .. } | Settlement::Unknown { .. } => "nobody",
    }
}

fn names(members: &[Arc<Member>]) -> Vec<&str> {
    members.iter().map(|member| &**member.name()).collect()
}

#[tokio::test]
async fn a_settlement_moves_on_only_when_nobody_was_reached() {
    let faults = [
        FaultKind::Unauthorized,
        FaultKind::RateLimited,
        FaultKind::Timeout,
        FaultKind::Cut,
        FaultKind::Status(500),
        FaultKind::Garbage,
    ];
    let stays = faults.map(Outcome::NotSent).into_iter().chain([Outcome::Refused, Outcome::Unknown]);
    for outcome in stays {
        let (first, second) = (Scripted::new("first", &BOTH), Scripted::new("second", &BOTH));
        first.script(|script| script.settle = outcome);
        let settlement = pool(&[&first, &second]).await.settle(&order(Dialect::V2)).await;
        assert_eq!(settled_by(&settlement), "nobody", "{settlement:?}");
        assert_eq!((first.asked().1, second.asked().1), (1, 0), "{settlement:?}: never asked of a second one");
    }

    let (first, second) = (Scripted::new("first", &BOTH), Scripted::new("second", &BOTH));
    first.script(|script| script.settle = Outcome::NotSent(FaultKind::Unreached));
    let pool = pool(&[&first, &second]).await;
    assert_eq!(settled_by(&pool.settle(&order(Dialect::V2)).await), "second");
    assert_eq!((first.asked().1, second.asked().1), (1, 1));
    second.script(|script| script.settle = Outcome::NotSent(FaultKind::Unreached));
    let settlement = pool.settle(&order(Dialect::V2)).await;
    assert!(matches!(settlement, Settlement::NotSent { .. }), "{settlement:?}");
    assert_eq!((first.asked().1, second.asked().1), (2, 2), "each once more");
}

#[tokio::test]
async fn a_verification_moves_on_at_any_fault_but_not_at_a_decision() {
    for kind in [FaultKind::Unreached, FaultKind::Timeout, FaultKind::Unauthorized, FaultKind::Garbage] {
        let (first, second) = (Scripted::new("first", &BOTH), Scripted::new("second", &BOTH));
        first.script(|script| script.verify = Err(kind));
        let pool = pool(&[&first, &second]).await;
        assert!(pool.verify(&order(Dialect::V1)).await.is_ok(), "{kind:?}");
        assert_eq!((first.asked().0, second.asked().0), (1, 1), "{kind:?}");
        second.script(|script| script.verify = Err(FaultKind::Cut));
        assert!(pool.verify(&order(Dialect::V1)).await.is_err(), "{kind:?}");
    }
    let (first, second) = (Scripted::new("first", &BOTH), Scripted::new("second", &BOTH));
    pool(&[&first, &second]).await.verify(&order(Dialect::V1)).await.unwrap();
    assert_eq!((first.asked().0, second.asked().0), (1, 0));
}

#[tokio::test]
async fn members_are_asked_by_what_they_said_they_support() {
    type Kinds = &'static [(u8, &'static str)];
    let cases: [(&str, Kinds, Dialect, bool); 8] = [
        ("v2", &[(2, "eip155:84532")], Dialect::V2, true),
        ("v1", &[(1, "base-sepolia")], Dialect::V1, true),
        ("v1 in v2's spelling", &[(1, "eip155:84532")], Dialect::V1, true),
        ("v2 in v1's spelling", &[(2, "base-sepolia")], Dialect::V2, true),
        ("every EVM network", &[(2, "eip155:*")], Dialect::V2, true),
        ("the other dialect", &[(1, "base-sepolia")], Dialect::V2, false),
        ("another network", &[(2, "eip155:8453"), (2, "narnia")], Dialect::V2, false),
        ("nothing", &[], Dialect::V2, false),
    ];
    for (what, kinds, dialect, supports) in cases {
        let member = Scripted::new("only", kinds);
        let settlement = pool(&[&member]).await.settle(&order(dialect)).await;
        assert_eq!(settled_by(&settlement), if supports { "only" } else { "nobody" }, "{what}");
        assert_eq!(member.asked().1, usize::from(supports), "{what}");
    }
    let member = Scripted::new("only", &[]);
    member.script(|script| {
        script.kinds = Ok(vec![SupportedKind { scheme: "upto".into(), ..kind(2, "base", json!({})) }])
    });
    let pool = pool(&[&member]).await;
    let Settlement::NotSent { fault } = pool.settle(&order(Dialect::V2)).await else { panic!() };
    assert_eq!(fault.kind, FaultKind::Unreached);
    assert!(fault.detail.contains("pay.usdc supports exact on eip155:84532 in x402 v2"), "{}", fault.detail);
}

#[tokio::test]
async fn who_has_not_answered_is_asked_last_and_who_said_no_is_not_asked() {
    let offer = offer_on("base-sepolia");
    let (silent, good, other) =
        (Scripted::new("silent", &BOTH), Scripted::new("good", &BOTH), Scripted::new("other", &[(2, "base")]));
    silent.script(|script| script.kinds = Err(FaultKind::Status(500)));
    let pool = pool(&[&silent, &other, &good]).await;
    assert_eq!(names(&pool.candidates(&offer, Some(Dialect::V2))), ["good", "silent"]);
    assert!(pool.is_ready_for(&offer));

    good.script(|script| script.kinds = Ok(Vec::new()));
    pool.refresh().await;
    assert_eq!(names(&pool.candidates(&offer, None)), ["silent"], "better than nobody");
    assert!(!pool.is_ready_for(&offer));

    silent.script(|script| script.kinds = Ok(vec![kind(2, "base-sepolia", json!({}))]));
    pool.refresh().await;
    silent.script(|script| script.kinds = Err(FaultKind::Status(500)));
    pool.refresh().await;
    assert_eq!(names(&pool.candidates(&offer, None)), ["silent"], "what it said once stays in force");
    assert!(!pool.is_ready_for(&offer), "but it has not answered");
}

#[tokio::test]
async fn a_member_that_cannot_be_used_is_set_aside_for_a_while() {
    let offer = offer_on("base-sepolia");
    for (kind, aside) in [
        (FaultKind::Unreached, true),
        (FaultKind::Timeout, true),
        (FaultKind::Unauthorized, true),
        (FaultKind::RateLimited, true),
        // What a client's payment may have caused.
        (FaultKind::Status(500), false),
        (FaultKind::Garbage, false),
        (FaultKind::Cut, false),
    ] {
        let (first, second) = (Scripted::new("first", &BOTH), Scripted::new("second", &BOTH));
        let pool = pool(&[&first, &second]).await;
        first.script(|script| script.verify = Err(kind));
        pool.verify(&order(Dialect::V2)).await.unwrap();
        let expected = if aside { ["second", "first"] } else { ["first", "second"] };
        assert_eq!(names(&pool.candidates(&offer, Some(Dialect::V2))), expected, "{kind:?}");
        let health = pool.health();
        assert_eq!((health[0].up, health[0].last_error), (!aside, Some(kind.label())), "{kind:?}");

        let standing = |after| pool.members[0].standing(&offer, None, Instant::now() + after);
        assert_eq!(standing(SET_ASIDE), standing(SET_ASIDE * 2), "{kind:?}: not for longer");
        assert_eq!(standing(Duration::ZERO) == standing(SET_ASIDE), !aside, "{kind:?}");

        pool.refresh().await;
        assert_eq!(names(&pool.candidates(&offer, None)), ["first", "second"], "{kind:?}: it answers again");
        assert_eq!((pool.health()[0].up, pool.health()[0].last_error), (true, None), "{kind:?}");
    }
}

#[tokio::test]
async fn a_challenge_takes_over_what_a_client_needs_and_no_more() {
    let extra = json!({ "feePayer": "payer1", "facilitatorAddress": "0xf39F", "extensions": ["x"], "name": "Evil" });
    let member = Scripted::new("only", &[]);
    member.script(|script| {
        script.kinds = Ok(vec![kind(2, "solana", extra), kind(2, "eip155:84532", json!({ "feePayer": 7 }))]);
    });
    let pool = pool(&[&member]).await;
    let solana = offer_on("solana");
    let supplied = json!({ "feePayer": "payer1", "facilitatorAddress": "0xf39F" });
    assert_eq!(pool.extra_for(&solana).map(Value::Object), Some(supplied.clone()));
    assert_eq!(Value::Object((*pool.offer_with_extra(&solana).unwrap().extra).clone()), supplied);

    let mut own = solana.clone();
    Arc::make_mut(&mut own.extra).insert("feePayer".into(), json!("mine"));
    assert_eq!(pool.offer_with_extra(&own).unwrap().extra["feePayer"], "mine", "the file's own word stays");

    let evm = offer_on("base-sepolia");
    assert_eq!(pool.extra_for(&evm), Some(Map::new()));
    assert_eq!(pool.offer_with_extra(&evm), Some(evm));
}

#[tokio::test]
async fn an_offer_without_its_fee_payer_is_not_shown() {
    let member = Scripted::new("only", &[(2, "solana-devnet")]);
    let observer = Arc::new(NoObserver);
    for pool in [unasked(&[&member], observer), pool(&[&member]).await] {
        assert_eq!(pool.offer_with_extra(&offer_on("solana")), None);
        assert_eq!(pool.offer_with_extra(&offer_on("solana-devnet")), None);
        let evm = offer_on("base");
        assert_eq!(pool.extra_for(&evm), None);
        assert_eq!(pool.offer_with_extra(&evm), Some(evm), "an EVM payment can be signed all the same");
    }
}

#[tokio::test]
async fn a_payment_goes_to_the_facilitator_whose_fee_payer_it_carries() {
    let (first, second) = (Scripted::new("first", &[]), Scripted::new("second", &[]));
    first.script(|script| script.kinds = Ok(vec![kind(2, "solana", json!({ "feePayer": "one" }))]));
    second.script(|script| script.kinds = Ok(vec![kind(2, "solana", json!({ "feePayer": "two" }))]));
    let pool = pool(&[&first, &second]).await;
    let mut offer = pool.offer_with_extra(&offer_on("solana")).unwrap();
    assert_eq!(names(&pool.candidates(&offer, None)), ["first", "second"]);
    Arc::make_mut(&mut offer.extra).insert("feePayer".into(), json!("two"));
    assert_eq!(names(&pool.candidates(&offer, None)), ["second", "first"]);
}

/// Takes its time over everything, and cannot be reached in the end.
struct Slow {
    name: Arc<str>,
    takes: Duration,
    settles: Mutex<usize>,
}

impl Slow {
    fn new(takes: Duration) -> Arc<Slow> {
        Arc::new(Slow { name: "slow".into(), takes, settles: Mutex::default() })
    }

    fn unreached(&self) -> Fault {
        Fault { facilitator: self.name.clone(), kind: FaultKind::Unreached, detail: "slowly".into() }
    }
}

#[async_trait]
impl Facilitator for Slow {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    async fn verify(&self, _order: &Order) -> Result<Verification, Fault> {
        tokio::time::sleep(self.takes).await;
        Err(self.unreached())
    }

    async fn settle(&self, _order: &Order) -> Settlement {
        *self.settles.lock().unwrap() += 1;
        tokio::time::sleep(self.takes).await;
        Settlement::NotSent { fault: self.unreached() }
    }

    async fn supported(&self) -> Result<Supported, Fault> {
        Err(self.unreached())
    }
}

fn slow_pool(members: &[Arc<Slow>]) -> Pool {
    let member = |slow: &Arc<Slow>| Arc::new(Member::new(slow.clone(), "http://slow".to_owned(), CALLS_MAX));
    Pool::new("usdc".into(), members.iter().map(member).collect(), TIMEOUT, Arc::new(NoObserver))
}

#[tokio::test(start_paused = true)]
async fn however_many_are_slow_a_payment_waits_for_all_of_them_no_longer_than_the_timeout() {
    let slow: Vec<_> = (0..5).map(|_| Slow::new(TIMEOUT * 2 / 3)).collect();
    let pool = slow_pool(&slow);
    let began = Instant::now();
    let fault = pool.verify(&order(Dialect::V2)).await.unwrap_err();
    assert_eq!((fault.kind, began.elapsed()), (FaultKind::Timeout, TIMEOUT));
    assert!(fault.detail.contains("facilitator_timeout of pay.usdc"), "{fault}");

    let settlement = pool.settle(&order(Dialect::V2)).await;
    assert!(matches!(settlement, Settlement::NotSent { .. }), "{settlement:?}");
    let settles: usize = slow.iter().map(|slow| *slow.settles.lock().unwrap()).sum();
    assert_eq!((settles, began.elapsed()), (2, TIMEOUT * 7 / 3), "what is begun goes on to its end, then no other is");
}

#[tokio::test(start_paused = true)]
async fn a_member_with_enough_to_do_is_passed_over_and_not_taken_for_down() {
    let slow = Slow::new(TIMEOUT);
    let free = Scripted::new("free", &[]);
    let busy = Arc::new(Member::new(slow.clone(), "http://slow".to_owned(), 1));
    let other = Arc::new(Member::new(free.clone(), "http://free".to_owned(), CALLS_MAX));
    let pool = Pool::new("usdc".into(), vec![busy.clone(), other], TIMEOUT, Arc::new(NoObserver));
    let v2 = order(Dialect::V2);
    let mut first = Box::pin(busy.settle(&v2, &NoObserver));
    assert!(futures::poll!(&mut first).is_pending(), "its only call");

    assert!(pool.verify(&v2).await.is_ok());
    assert_eq!(settled_by(&pool.settle(&v2).await), "free");
    assert_eq!((free.asked(), *slow.settles.lock().unwrap()), ((1, 1), 1), "the busy one was not asked");
    assert_eq!(pool.health()[0].last_error, None);

    let alone = Pool::new("usdc".into(), vec![busy.clone()], TIMEOUT, Arc::new(NoObserver));
    let Settlement::NotSent { fault } = alone.settle(&v2).await else { panic!("it was not begun") };
    assert_eq!(fault.kind, FaultKind::Busy);
}

#[derive(Default)]
struct Seen(Mutex<Vec<(String, Operation, &'static str)>>);

impl Observer for Seen {
    fn call(&self, facilitator: &str, operation: Operation, outcome: &'static str, _elapsed: Duration) {
        self.0.lock().unwrap().push((facilitator.to_owned(), operation, outcome));
    }
}

#[tokio::test]
async fn every_call_is_observed_with_its_outcome() {
    let seen = Arc::new(Seen::default());
    let (first, second) = (Scripted::new("first", &BOTH), Scripted::new("second", &BOTH));
    let pool = unasked(&[&first, &second], seen.clone());
    second.script(|script| script.kinds = Err(FaultKind::Status(404)));
    pool.refresh().await;
    first.script(|script| {
        (script.verify, script.settle) = (Err(FaultKind::Garbage), Outcome::NotSent(FaultKind::Unreached))
    });
    second.script(|script| script.settle = Outcome::Unknown);
    pool.verify(&order(Dialect::V2)).await.unwrap();
    pool.settle(&order(Dialect::V2)).await;
    let seen: Vec<_> =
        seen.0.lock().unwrap().iter().map(|(who, what, how)| format!("{who} {} {how}", what.label())).collect();
    assert_eq!(
        seen,
        [
            "first supported ok",
            "second supported status_4xx",
            "first verify garbage",
            "second verify valid",
            "first settle unreached",
            "second settle unknown",
        ]
    );
}
