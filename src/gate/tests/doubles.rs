//! A ledger and a facilitator that do as they are told.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Map, json};
use tokio::sync::Semaphore;

use crate::config::{FacilitatorAt, FacilitatorConfig};
use crate::facilitator::sandbox::SandboxFacilitator;
use crate::facilitator::{Facilitator, Fault, FaultKind, Order, Settlement, Supported, SupportedKind, Verification};
use crate::ledger::memory::MemoryLedger;
use crate::ledger::{
    Claim, Counts, Filter, GroupBy, Held, Ledger, LedgerError, NewPayment, Opening, Postponement, Record, Recovered,
    Reservation, State, StoredKey, Total, Transition, UnixMillis, Unresolved,
};
use crate::x402::PaymentId;

/// Something that stops until the test lets it go on.
pub struct Pause {
    arrived: Semaphore,
    go: Semaphore,
}

impl Pause {
    fn new() -> Arc<Pause> {
        Arc::new(Pause { arrived: Semaphore::new(0), go: Semaphore::new(0) })
    }

    async fn stop(&self) {
        self.arrived.add_permits(1);
        self.go.acquire().await.unwrap().forget();
    }

    /// Waits until somebody has stopped here.
    pub async fn reached(&self) {
        self.arrived.acquire().await.unwrap().forget();
    }

    /// Lets it go on.
    pub fn release(&self) {
        self.go.add_permits(1);
    }
}

/// What the ledger is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    Reserve,
    Settling,
    Settled,
    Unknown,
    Failed,
    Delivered,
    Find,
    CountUse,
    Hold,
    Claim,
    Postpone,
    Ruled,
}

impl Step {
    fn of(transition: &Transition) -> Step {
        match transition {
            Transition::Settling => Step::Settling,
            Transition::Settled { .. } => Step::Settled,
            Transition::Unknown { .. } => Step::Unknown,
            Transition::Released { .. } | Transition::Failed { .. } => Step::Failed,
            Transition::Delivered => Step::Delivered,
            Transition::Ruled(_) => Step::Ruled,
        }
    }
}

/// How a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaks {
    /// Nothing is written.
    Before,
    /// It is written, and the answer says that it was not.
    After,
}

/// A [`MemoryLedger`] that takes its time as one on a disk does, and fails or pauses on demand.
#[derive(Default)]
pub struct TestLedger {
    pub inner: MemoryLedger,
    steps: Mutex<HashMap<Step, u64>>,
    broken: Mutex<HashMap<Step, (Breaks, u32)>>,
    pauses: Mutex<HashMap<Step, Arc<Pause>>>,
    /// Another gateway works on every payment that is not at its end.
    pub elsewhere: AtomicBool,
    /// The other gateways have ended: what they left is taken over by the next sweep.
    pub others_gone: AtomicBool,
    /// Payments that other gateways may deliver.
    pub let_go: Mutex<Vec<PaymentId>>,
    /// How often a payment that comes again was looked at.
    pub looks: AtomicU64,
}

impl TestLedger {
    /// How often it was asked for this.
    pub fn steps(&self, step: Step) -> u64 {
        self.steps.lock().unwrap().get(&step).copied().unwrap_or(0)
    }

    /// The next so many of these steps fail.
    pub fn break_next(&self, step: Step, breaks: Breaks, times: u32) {
        self.broken.lock().unwrap().insert(step, (breaks, times));
    }

    /// Nothing fails any more.
    pub fn mend(&self) {
        self.broken.lock().unwrap().clear();
    }

    /// Nothing stops any more.
    pub fn forget(&self) {
        self.pauses.lock().unwrap().clear();
    }

    /// The next of these steps stops before it is carried out.
    pub fn pause_at(&self, step: Step) -> Arc<Pause> {
        let pause = Pause::new();
        self.pauses.lock().unwrap().insert(step, pause.clone());
        pause
    }

    pub async fn record(&self, id: &PaymentId) -> Option<Record> {
        self.inner.find(id).await.unwrap()
    }

    pub async fn all(&self) -> Vec<Record> {
        self.inner.list(&Filter::default()).await.unwrap()
    }

    async fn stop(&self, step: Step) {
        let pause = self.pauses.lock().unwrap().remove(&step);
        if let Some(pause) = pause {
            pause.stop().await;
        }
    }

    fn breaks(&self, step: Step) -> Option<Breaks> {
        let mut broken = self.broken.lock().unwrap();
        let (breaks, left) = broken.get_mut(&step).filter(|(_, left)| *left > 0)?;
        *left -= 1;
        Some(*breaks)
    }

    /// Carries a step out, or fails as told.
    async fn step<T>(&self, step: Step, work: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
        *self.steps.lock().unwrap().entry(step).or_default() += 1;
        self.stop(step).await;
        tokio::task::yield_now().await;
        let outcome = self.carry_out(step, work).await;
        tokio::task::yield_now().await;
        outcome
    }

    async fn carry_out<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        let broken = |what: &str| LedgerError::Unavailable(format!("told to fail {what} {step:?}"));
        match self.breaks(step) {
            None => work.await,
            Some(Breaks::Before) => Err(broken("before")),
            Some(Breaks::After) => work.await.and(Err(broken("after"))),
        }
    }
}

#[async_trait]
impl Ledger for TestLedger {
    async fn reserve(&self, payment: NewPayment, opening: Opening) -> Result<Reservation, LedgerError> {
        self.step(Step::Reserve, self.inner.reserve(payment, opening)).await
    }

    async fn advance(&self, id: &PaymentId, transition: Transition, now: UnixMillis) -> Result<(), LedgerError> {
        self.step(Step::of(&transition), self.inner.advance(id, transition, now)).await
    }

    async fn hold(&self, id: &PaymentId, now: UnixMillis) -> Result<Option<Held>, LedgerError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        let elsewhere = self.elsewhere.load(Ordering::SeqCst);
        let record = self.inner.find(id).await?;
        let is_open = |record: &Record| match record.state {
            State::Reserved | State::Settling => true,
            State::Settled => record.delivered_at.is_none(),
            State::Unknown | State::Failed => false,
        };
        match record.filter(|record| elsewhere && is_open(record)) {
            Some(record) => self.step(Step::Hold, async { Ok(Some(Held { record, elsewhere: true })) }).await,
            None => self.step(Step::Hold, self.inner.hold(id, now)).await,
        }
    }

    async fn let_go(&self, id: &PaymentId) -> Result<(), LedgerError> {
        self.let_go.lock().unwrap().push(id.clone());
        Ok(())
    }

    async fn find(&self, id: &PaymentId) -> Result<Option<Record>, LedgerError> {
        self.step(Step::Find, self.inner.find(id)).await
    }

    async fn count_use(&self, id: &PaymentId, limit: u32) -> Result<bool, LedgerError> {
        self.step(Step::CountUse, self.inner.count_use(id, limit)).await
    }

    async fn pass_keys(&self) -> Result<Vec<StoredKey>, LedgerError> {
        self.inner.pass_keys().await
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Record>, LedgerError> {
        self.inner.list(filter).await
    }

    async fn totals(&self, filter: &Filter, by: GroupBy) -> Result<Vec<Total>, LedgerError> {
        self.inner.totals(filter, by).await
    }

    async fn counts(&self) -> Result<Counts, LedgerError> {
        self.inner.counts().await
    }

    async fn recover(&self, now: UnixMillis) -> Result<Recovered, LedgerError> {
        self.inner.recover(now).await
    }

    async fn sweep(&self, now: UnixMillis) -> Result<Recovered, LedgerError> {
        if self.others_gone.load(Ordering::SeqCst) {
            self.inner.recover(now).await
        } else {
            self.inner.sweep(now).await
        }
    }

    async fn claim_due(&self, claim: Claim<'_>, limit: u32) -> Result<Vec<Unresolved>, LedgerError> {
        self.step(Step::Claim, self.inner.claim_due(claim, limit)).await
    }

    async fn claim(&self, id: &PaymentId, claim: Claim<'_>) -> Result<Option<Unresolved>, LedgerError> {
        self.step(Step::Claim, self.inner.claim(id, claim)).await
    }

    async fn postpone(&self, id: &PaymentId, worker: &str, postponement: Postponement) -> Result<(), LedgerError> {
        self.step(Step::Postpone, self.inner.postpone(id, worker, postponement)).await
    }

    async fn prune(&self, until: UnixMillis, limit: u32) -> Result<u64, LedgerError> {
        self.inner.prune(until, limit).await
    }

    async fn check(&self) -> Result<(), LedgerError> {
        self.inner.check().await
    }

    async fn close(&self) -> Result<(), LedgerError> {
        self.inner.close().await
    }
}

/// The sandbox, unless the test has put an answer before it.
pub struct TestFacilitator {
    name: Arc<str>,
    pub sandbox: SandboxFacilitator,
    verifications: Mutex<VecDeque<Result<Verification, Fault>>>,
    settlements: Mutex<VecDeque<Settlement>>,
    pub verify_calls: AtomicU64,
    pub settle_calls: AtomicU64,
    loses_next_answer: AtomicBool,
    settle_pause: Mutex<Option<Arc<Pause>>>,
    verify_pause: Mutex<Option<Arc<Pause>>>,
}

impl TestFacilitator {
    pub fn new(name: &Arc<str>, config: &FacilitatorConfig) -> TestFacilitator {
        let FacilitatorAt::Sandbox(sandbox) = &config.at else { panic!("tests have sandboxes only") };
        TestFacilitator {
            name: name.clone(),
            sandbox: SandboxFacilitator::new(name.clone(), sandbox.clone()),
            verifications: Mutex::default(),
            settlements: Mutex::default(),
            verify_calls: AtomicU64::default(),
            settle_calls: AtomicU64::default(),
            loses_next_answer: AtomicBool::default(),
            settle_pause: Mutex::default(),
            verify_pause: Mutex::default(),
        }
    }

    pub fn verify_next(&self, answer: Result<Verification, Fault>) {
        self.verifications.lock().unwrap().push_back(answer);
    }

    pub fn settle_next(&self, answer: Settlement) {
        self.settlements.lock().unwrap().push_back(answer);
    }

    /// The next settlement is made, and nobody is told.
    pub fn lose_next_answer(&self) {
        self.loses_next_answer.store(true, Ordering::SeqCst);
    }

    /// What it was told to do next, and has not done, it does not do.
    pub fn forget(&self) {
        self.verifications.lock().unwrap().clear();
        self.settlements.lock().unwrap().clear();
        self.loses_next_answer.store(false, Ordering::SeqCst);
        *self.settle_pause.lock().unwrap() = None;
        *self.verify_pause.lock().unwrap() = None;
    }

    pub fn pause_settle(&self) -> Arc<Pause> {
        let pause = Pause::new();
        *self.settle_pause.lock().unwrap() = Some(pause.clone());
        pause
    }

    pub fn pause_verify(&self) -> Arc<Pause> {
        let pause = Pause::new();
        *self.verify_pause.lock().unwrap() = Some(pause.clone());
        pause
    }

    pub fn settles(&self) -> u64 {
        self.settle_calls.load(Ordering::SeqCst)
    }

    pub fn verifies(&self) -> u64 {
        self.verify_calls.load(Ordering::SeqCst)
    }

    pub fn fault(&self, kind: FaultKind) -> Fault {
        Fault { facilitator: self.name.clone(), kind, detail: "told to fail".to_owned() }
    }
}

/// A [`TestFacilitator`] where the pool wants one of its own.
pub struct Shared(pub Arc<TestFacilitator>);

#[async_trait]
impl Facilitator for Shared {
    fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    async fn verify(&self, order: &Order) -> Result<Verification, Fault> {
        self.0.verify_calls.fetch_add(1, Ordering::SeqCst);
        let pause = self.0.verify_pause.lock().unwrap().take();
        if let Some(pause) = pause {
            pause.stop().await;
        }
        let told = self.0.verifications.lock().unwrap().pop_front();
        match told {
            Some(answer) => answer,
            None => self.0.sandbox.verify(order).await,
        }
    }

    async fn settle(&self, order: &Order) -> Settlement {
        self.0.settle_calls.fetch_add(1, Ordering::SeqCst);
        let pause = self.0.settle_pause.lock().unwrap().take();
        if let Some(pause) = pause {
            pause.stop().await;
        }
        let told = self.0.settlements.lock().unwrap().pop_front();
        let settlement = match told {
            Some(answer) => return answer,
            None => self.0.sandbox.settle(order).await,
        };
        if !self.0.loses_next_answer.swap(false, Ordering::SeqCst) {
            return settlement;
        }
        Settlement::Unknown { facilitator: self.0.name.clone(), transaction: None, detail: "lost".to_owned() }
    }

    async fn supported(&self) -> Result<Supported, Fault> {
        let mut supported = self.0.sandbox.supported().await?;
        supported.kinds.push(SupportedKind {
            x402_version: 2,
            scheme: "exact".to_owned(),
            network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp".to_owned(),
            extra: Map::from_iter([("feePayer".to_owned(), json!("9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM"))]),
        });
        Ok(supported)
    }
}
