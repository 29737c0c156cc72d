//! One facilitator as the pools share it: what it said it supports, and whether it is up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::sandbox::EVERY_EVM_NETWORK;
use super::slots::Slots;
use super::{Facilitator, Fault, FaultKind, Observer, Operation, Order, Settlement, Supported, Verification};
use crate::x402::{Dialect, Network, Offer};

/// For how long a facilitator that could not be used is asked after all others.
pub(super) const SET_ASIDE: Duration = Duration::from_secs(30);

/// A facilitator's health, for `/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The `[facilitators.NAME]`.
    pub name: Arc<str>,
    /// Where it is, without user, password and query.
    pub url: String,
    /// Whether `/supported` answered when it was last asked, and no call since showed that it cannot be used.
    pub up: bool,
    /// The last call's [`FaultKind::label`], where it brought none.
    pub last_error: Option<&'static str>,
    /// When `/supported` was last asked, in Unix milliseconds.
    pub asked_at: Option<i64>,
    /// How many kinds it named when `/supported` last answered.
    pub kinds: Option<usize>,
}

/// How willingly a member is asked, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It named the kind.
    Supporting,
    /// It named the kind, but could not be used a moment ago.
    SetAside,
    /// It has not said yet what it supports.
    Unasked,
    /// It has not said yet, and could not be used a moment ago either.
    UnaskedSetAside,
}

/// One facilitator and what is known of it.
pub(super) struct Member {
    url: String,
    facilitator: Arc<dyn Facilitator>,
    slots: Slots,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    supported: Option<Arc<Supported>>,
    asked_at: Option<SystemTime>,
    /// Whether `/supported` brought an answer when it was last asked.
    answers: bool,
    /// What the last call of any kind brought instead of an answer.
    fault: Option<FaultKind>,
    set_aside_until: Option<Instant>,
}

impl State {
    /// A fault that may be about one payment does not take a facilitator down: a client could make it.
    fn is_up(&self) -> bool {
        self.answers && !self.fault.is_some_and(is_unusable)
    }
}

impl Member {
    /// `url` is shown to the operator; `calls_max` may be under way at once.
    pub(super) fn new(facilitator: Arc<dyn Facilitator>, url: String, calls_max: usize) -> Member {
        Member { url, facilitator, slots: Slots::new(calls_max), state: Mutex::default() }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        self.facilitator.name()
    }

    pub(super) async fn verify(&self, order: &Order, observer: &dyn Observer) -> Result<Verification, Fault> {
        let Some(_slot) = self.slots.verify().await else { return Err(self.busy()) };
        let began = Instant::now();
        let result = self.facilitator.verify(order).await;
        let outcome = match &result {
            Ok(Verification::Valid { .. }) => "valid",
            Ok(Verification::Invalid { .. }) => "invalid",
            Err(fault) => fault.kind.label(),
        };
        observer.call(self.name(), Operation::Verify, outcome, began.elapsed());
        self.learn(result.as_ref().err(), Operation::Verify);
        result
    }

    pub(super) async fn settle(&self, order: &Order, observer: &dyn Observer) -> Settlement {
        let Some(_slot) = self.slots.settle().await else { return Settlement::NotSent { fault: self.busy() } };
        let began = Instant::now();
        let settlement = self.facilitator.settle(order).await;
        let outcome = match &settlement {
            Settlement::Settled { .. } => "settled",
            Settlement::Refused { .. } => "refused",
            Settlement::NotSent { fault } => fault.kind.label(),
            Settlement::Unknown { .. } => "unknown",
        };
        observer.call(self.name(), Operation::Settle, outcome, began.elapsed());
        match &settlement {
            Settlement::Settled { .. } | Settlement::Refused { .. } => self.learn(None, Operation::Settle),
            Settlement::NotSent { fault } => self.learn(Some(fault), Operation::Settle),
            // It says nothing of the next call: a pending block is as unknown as a dead server.
            Settlement::Unknown { transaction, detail, .. } => {
                let transaction = transaction.as_deref().unwrap_or_default();
                tracing::warn!(facilitator = %self.name(), transaction, detail, "a settlement's outcome is unknown");
            }
        }
        settlement
    }

    /// Asks what it supports. A failure leaves the last answer in force.
    pub(super) async fn refresh(&self, observer: &dyn Observer) {
        let began = Instant::now();
        let result = self.facilitator.supported().await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(fault) => fault.kind.label(),
        };
        observer.call(self.name(), Operation::Supported, outcome, began.elapsed());
        self.learn(result.as_ref().err(), Operation::Supported);
        let mut state = self.state();
        state.asked_at = Some(SystemTime::now());
        state.answers = result.is_ok();
        if let Ok(supported) = result {
            state.supported = Some(Arc::new(supported));
        }
    }

    pub(super) fn health(&self) -> Health {
        let state = self.state();
        Health {
            name: self.name().clone(),
            url: self.url.clone(),
            up: state.is_up(),
            last_error: state.fault.map(FaultKind::label),
            asked_at: state.asked_at.map(unix_millis),
            kinds: state.supported.as_ref().map(|supported| supported.kinds.len()),
        }
    }

    /// Whether it is up and named the offer's kind.
    pub(super) fn is_good_for(&self, offer: &Offer) -> bool {
        let state = self.state();
        let supports = state.supported.as_ref().is_some_and(|supported| kind_for(supported, offer, None).is_some());
        supports && state.is_up()
    }

    /// How willingly it is asked about an offer in a dialect (any, while none is known); `None` if it said that it
    /// does not support it.
    pub(super) fn standing(&self, offer: &Offer, dialect: Option<Dialect>, now: Instant) -> Option<Standing> {
        let state = self.state();
        let set_aside = state.set_aside_until.is_some_and(|until| now < until);
        match (&state.supported, set_aside) {
            (None, false) => Some(Standing::Unasked),
            (None, true) => Some(Standing::UnaskedSetAside),
            (Some(supported), set_aside) => {
                kind_for(supported, offer, dialect)?;
                Some(if set_aside { Standing::SetAside } else { Standing::Supporting })
            }
        }
    }

    /// The `extra` of the kind that fits an offer; `None` if it has not named one.
    pub(super) fn extra(&self, offer: &Offer, dialect: Option<Dialect>) -> Option<Map<String, Value>> {
        let supported = self.state().supported.clone()?;
        kind_for(&supported, offer, dialect).map(|kind| kind.extra.clone())
    }

    /// No call, and so nothing is learned of the facilitator.
    fn busy(&self) -> Fault {
        let detail = "as many calls as it may have are under way: see `calls_in_flight`".to_owned();
        Fault { facilitator: self.name().clone(), kind: FaultKind::Busy, detail }
    }

    fn learn(&self, fault: Option<&Fault>, operation: Operation) {
        let mut state = self.state();
        let Some(fault) = fault else {
            state.fault = None;
            state.set_aside_until = None;
            return;
        };
        state.fault = Some(fault.kind);
        state.set_aside_until = is_unusable(fault.kind).then(|| Instant::now() + SET_ASIDE);
        drop(state);
        tracing::warn!(
            facilitator = %self.name(),
            operation = operation.label(),
            kind = fault.kind.label(),
            detail = fault.detail,
            "a facilitator's call brought no decision"
        );
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment; a panic between two leaves nothing that cannot be lived with.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Faults that the next call would meet as well. A status or a body without sense may be about the one payment, and
/// a client must not be able to put a facilitator aside with a payment of its making.
fn is_unusable(kind: FaultKind) -> bool {
    match kind {
        FaultKind::Unreached | FaultKind::Timeout | FaultKind::Unauthorized | FaultKind::RateLimited => true,
        FaultKind::Busy | FaultKind::Cut | FaultKind::Status(_) | FaultKind::Garbage => false,
    }
}

/// The kind that fits an offer: v2's first, where the dialect is open.
fn kind_for<'a>(supported: &'a Supported, offer: &Offer, dialect: Option<Dialect>) -> Option<&'a super::SupportedKind> {
    let speaks = |dialect: Dialect| {
        supported.kinds.iter().find(|kind| {
            kind.x402_version == dialect.version()
                && kind.scheme == offer.scheme.name()
                && is_network(&kind.network, &offer.network)
        })
    };
    match dialect {
        Some(dialect) => speaks(dialect),
        None => speaks(Dialect::V2).or_else(|| speaks(Dialect::V1)),
    }
}

/// In either version's spelling.
fn is_network(named: &str, network: &Network) -> bool {
    match named {
        EVERY_EVM_NETWORK => network.evm_chain_id().is_some(),
        named => Network::parse(named).as_ref() == Ok(network),
    }
}

fn unix_millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
