//! The running gateway: the generation in force, how it is swapped, and what its operator may ask.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{error, info, warn};

use super::live::Live;
use super::observer::CallMetrics;
use super::upstreams::Upstreams;
use crate::access::PassKeys;
use crate::access::keys::KeyError;
use crate::admin::{Operations, ReloadAnswer};
use crate::aside::aside;
use crate::config::{self, Config, Loaded, ReadFile, Started};
use crate::facilitator::{BuildError, Facilitators};
use crate::gate::generation::Generation;
use crate::gate::{Gate, unix_millis};
use crate::ledger::metered::MeteredLedger;
use crate::ledger::{Ledger, LedgerError, StoredKey};
use crate::resolve::Witnesses;
use crate::telemetry::log::Logs;
use crate::telemetry::{Counted, InFlight, Metrics, Reload, Unsettled};

/// How often it is looked whether requests still need what was in force before.
const RETIRED_EVERY: Duration = Duration::from_millis(100);

/// Everything that runs.
pub struct House {
    /// Judges requests.
    pub gate: Gate,
    /// Counts them.
    pub metrics: Arc<Metrics>,
    live: ArcSwap<Live>,
    requests: TaskTracker,
    /// `None` where the config did not come from a file.
    file: Option<PathBuf>,
    started: Started,
    /// Keys of the ledger's, for a config that names none.
    stored_keys: Vec<StoredKey>,
    logs: Option<Logs>,
    /// One reload or requote at a time.
    swapping: Mutex<()>,
    draining: std::sync::atomic::AtomicBool,
    reloaded: Notify,
}

/// What a house is made of.
pub struct Foundation {
    /// What is in force first.
    pub config: Config,
    /// Where it came from, to be read again.
    pub file: Option<PathBuf>,
    /// Every payment's state.
    pub ledger: Arc<dyn Ledger>,
    /// Where requests and payments are counted.
    pub metrics: Arc<Metrics>,
    /// The process's logs, whose level follows the config.
    pub logs: Option<Logs>,
}

/// Why a house cannot be built, or not anew.
#[derive(Debug, thiserror::Error)]
pub enum HouseError {
    /// Pass keys cannot be read or made.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A facilitator cannot be spoken to at all.
    #[error(transparent)]
    Facilitator(#[from] BuildError),
    /// A network's node cannot be spoken to at all.
    #[error("{0}")]
    Node(String),
    /// The pass keys are no keys.
    #[error("pass keys: {0}")]
    Keys(#[from] KeyError),
    /// The routes cannot be made.
    #[error(transparent)]
    Routes(#[from] std::io::Error),
}

impl House {
    /// Resolves upstreams and asks facilitators what they support; neither need answer for the house to stand.
    pub async fn build(foundation: Foundation) -> Result<Arc<House>, HouseError> {
        let Foundation { config, file, ledger, metrics, logs } = foundation;
        let ledger = Arc::new(MeteredLedger::new(ledger, metrics.clone()));
        let stored_keys = ledger.pass_keys().await?;
        let started = Started::with(&config);
        let receipts_in_memory = config.server.receipts_in_memory;
        let live = raise(config, &stored_keys, &metrics, None).await?;
        metrics.config_in_force(&live.generation.config.hash, unix_seconds());
        Ok(Arc::new(House {
            gate: Gate::new(ledger, metrics.clone(), receipts_in_memory),
            metrics,
            live: ArcSwap::from_pointee(live),
            requests: TaskTracker::new(),
            file,
            started,
            stored_keys,
            logs,
            swapping: Mutex::new(()),
            draining: std::sync::atomic::AtomicBool::new(false),
            reloaded: Notify::new(),
        }))
    }

    /// The generation in force.
    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// The same, for a look at it that is over at once.
    pub(super) fn look(&self) -> arc_swap::Guard<Arc<Live>> {
        self.live.load()
    }

    pub(super) fn enter(&self) -> (InFlight, TaskTrackerToken) {
        (self.metrics.in_flight(), self.requests.token())
    }

    /// Asks the facilitators again what they support, and shows new challenges where that changed them.
    pub async fn refresh_facilitators(&self) {
        let _one = self.swapping.lock().await;
        let live = self.live.load_full();
        live.generation.facilitators.refresh().await;
        let (generation, metrics) = (live.generation.clone(), self.metrics.clone());
        match aside("requote", move || generation.requote(&metrics, unix_millis())).await {
            Ok(Some(generation)) => {
                let generation = Arc::new(generation);
                self.live.store(Arc::new(Live { generation, upstreams: live.upstreams.clone() }));
                tokio::spawn(retire(live.generation.clone()));
                info!("a facilitator supports something else than before: challenges were made anew");
            }
            Ok(None) => {}
            Err(error) => error!(%error, "challenges could not be made anew"),
        }
    }

    /// Resolves upstreams' names again and looks which servers are up.
    pub async fn refresh_upstreams(&self) {
        self.live.load_full().upstreams.refresh().await;
    }

    /// Waits for requests in flight and for settlements that outlive them, for no longer than `limit`; `false` when
    /// some are left.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.draining.store(true, std::sync::atomic::Ordering::Relaxed);
        self.requests.close();
        let drained = async {
            self.requests.wait().await;
            self.gate.drain().await;
        };
        tokio::time::timeout(limit, drained).await.is_ok()
    }

    /// The files that the config in force came from, its own first; none where it did not come from a file.
    pub fn files(&self) -> Vec<ReadFile> {
        let live = self.live.load();
        let config = &live.generation.config;
        let own = self.file.iter().map(|path| ReadFile { path: path.clone(), hash: config.hash.clone() });
        // Without a file of its own nothing could be read again.
        own.flat_map(|own| std::iter::once(own).chain(config.files.iter().cloned())).collect()
    }

    /// Waits for the next config that comes into force, unless one has since this was ready the last time.
    pub async fn reloaded(&self) {
        self.reloaded.notified().await;
    }

    /// What proves the gateway's name to clients that speak TLS.
    pub(super) fn certificate(&self) -> Option<Arc<rustls::sign::CertifiedKey>> {
        self.live.load().generation.config.server.tls.as_ref().map(|tls| tls.identity.clone())
    }

    /// How many requests are in flight.
    pub fn in_flight(&self) -> usize {
        self.requests.len()
    }

    fn refused(&self, errors: String) -> ReloadAnswer {
        let config_hash = self.live.load().generation.config.hash.clone();
        self.metrics.reloaded(Reload::Refused, &config_hash, unix_seconds());
        error!("the config was not reloaded, the old one stays in force:\n{errors}");
        ReloadAnswer { ok: false, config_hash, needs_restart: Vec::new(), errors: Some(errors), warnings: Vec::new() }
    }
}

/// Brings a config to life; `previous` lends it what did not change and keeps its quotes good.
async fn raise(
    config: Config,
    stored_keys: &[StoredKey],
    metrics: &Arc<Metrics>,
    previous: Option<Arc<Generation>>,
) -> Result<Live, HouseError> {
    let pass_keys = if config.pass_keys.is_empty() {
        PassKeys::from_ledger(stored_keys)?
    } else {
        PassKeys::from_config(&config.pass_keys)?
    };
    let observer = Arc::new(CallMetrics::new(config.facilitators.keys(), metrics));
    let lent = previous.as_ref().map(|generation| &*generation.facilitators);
    let facilitators = Arc::new(Facilitators::new(&config.facilitators, &config.ways, lent, observer)?);
    facilitators.refresh().await;
    let witnesses = Witnesses::new(&config.networks, facilitators).map_err(HouseError::Node)?;
    let upstreams = Arc::new(Upstreams::start(&config, metrics).await);
    let (config, witnesses, pass_keys) = (Arc::new(config), Arc::new(witnesses), Arc::new(pass_keys));
    let generation = match previous {
        None => Generation::build(config, witnesses, pass_keys, metrics, None),
        Some(previous) => {
            let metrics = metrics.clone();
            let build = move || {
                let previous = Some((&*previous, unix_millis()));
                Generation::build(config, witnesses, pass_keys, &metrics, previous)
            };
            aside("config-raise", build).await?
        }
    };
    Ok(Live { generation: Arc::new(generation), upstreams })
}

/// Drops what was in force, once no request needs it any more: on a thread of its own, or it would be the last request's
/// that has it, and all others would wait for a hundred thousand routes to be dropped.
async fn retire<T: Send + Sync + 'static>(old: Arc<T>) {
    while Arc::strong_count(&old) > 1 {
        tokio::time::sleep(RETIRED_EVERY).await;
    }
    if let Err(error) = aside("config-drop", move || drop(old)).await {
        error!(%error, "what was in force before was not dropped as it should be");
    }
}

#[async_trait]
impl Operations for House {
    async fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.draining.load(std::sync::atomic::Ordering::Relaxed) {
            reasons.push("shutting down".to_owned());
        }
        if let Err(error) = self.gate.shared().ledger.check().await {
            reasons.push(error.to_string());
        }
        let live = self.live.load_full();
        match tokio::task::spawn_blocking(move || live.generation.not_ready()).await {
            Ok(routes) => reasons.extend(routes),
            Err(panic) => reasons.push(format!("the routes could not be looked at: {panic}")),
        }
        reasons
    }

    async fn status(&self) -> serde_json::Value {
        let live = self.live.load_full();
        let generation = live.generation.clone();
        let routes = tokio::task::spawn_blocking(move || generation.status()).await.unwrap_or_default();
        let generation = &live.generation;
        let counts = self.gate.shared().ledger.counts().await;
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "config": {
                "file": self.file.as_ref().map(|file| file.display().to_string()),
                "hash": generation.config.hash,
                "routes": routes,
            },
            "facilitators": generation.facilitators.health(),
            "upstreams": live.upstreams.status(),
            "ledger": match &counts {
                Ok(counts) => json!(counts),
                Err(error) => json!({ "error": error.to_string() }),
            },
            "in_flight": self.in_flight(),
        })
    }

    async fn refresh_metrics(&self) {
        self.metrics.receipts_in_memory(self.gate.shared().receipts.len());
        let limits = &self.gate.shared().limits;
        let (rates, allowances) = limits.entries(limits.elapsed());
        self.metrics.counted(Counted::Rate, rates);
        self.metrics.counted(Counted::Allowance, allowances);
        let counts = self.gate.shared().ledger.counts().await.ok();
        self.metrics.unsettled(counts.map(|counts| {
            let age = counts.oldest_unsettled.map_or(0, |since| unix_millis().saturating_sub(since));
            Unsettled {
                settling: counts.settling,
                unknown: counts.unknown,
                oldest_age: Duration::from_millis(u64::try_from(age).unwrap_or(0)),
                undelivered: counts.undelivered,
            }
        }));
    }

    async fn reload(&self) -> ReloadAnswer {
        let _one = self.swapping.lock().await;
        let Some(file) = self.file.clone() else {
            return self.refused("this config did not come from a file".to_owned());
        };
        let Loaded { config, warnings } = match aside("config-load", move || config::load(&file)).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(report)) => return self.refused(report.rendered),
            Err(error) => return self.refused(format!("the config could not be read: {error}")),
        };
        for warning in &warnings {
            warn!("{warning}");
        }
        let old = self.live.load_full();
        let needs_restart = self.started.waiting(&config);
        let before = &old.generation.config;
        let unchanged = before.hash == config.hash && before.files == config.files;
        let (stored_keys, metrics, previous) = (self.stored_keys.clone(), self.metrics.clone(), old.generation.clone());
        // On a thread of its own: nobody waits for a hundred thousand routes to be looked at.
        let raising = tokio::task::spawn_blocking(move || {
            Handle::current().block_on(raise(config, &stored_keys, &metrics, Some(previous)))
        });
        let live = match raising.await {
            Ok(Ok(live)) => live,
            Ok(Err(error)) => return self.refused(error.to_string()),
            Err(panic) => return self.refused(format!("the config could not be put to work: {panic}")),
        };
        let config = live.generation.config.clone();
        self.live.store(Arc::new(live));
        tokio::spawn(retire(old.generation.clone()));
        self.reloaded.notify_one();
        self.gate.shared().receipts.resize(config.server.receipts_in_memory);
        self.gate.shared().readings.resize(config.server.receipts_in_memory);
        if let Some(logs) = &self.logs
            && let Err(error) = logs.set_filter(&config.log.level, config.log.access)
        {
            warn!(%error, "the log level stays as it was");
        }
        let result = if unchanged { Reload::Unchanged } else { Reload::Applied };
        self.metrics.reloaded(result, &config.hash, unix_seconds());
        info!(hash = config.hash, routes = config.routes.len(), ?needs_restart, "the config was reloaded");
        ReloadAnswer { ok: true, config_hash: config.hash.clone(), needs_restart, errors: None, warnings }
    }
}

fn unix_seconds() -> f64 {
    unix_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};

    use super::*;

    struct Dropped(mpsc::Sender<ThreadId>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().id());
        }
    }

    #[tokio::test]
    async fn what_was_in_force_is_dropped_by_no_request_and_on_no_workers_thread() {
        let (tell, told) = mpsc::channel();
        let old = Arc::new(Dropped(tell));
        let request = old.clone();
        let retired = tokio::spawn(retire(old));
        // It has looked once.
        tokio::task::yield_now().await;
        drop(request);
        assert!(told.try_recv().is_err(), "by the request");
        retired.await.unwrap();
        assert_ne!(told.recv().unwrap(), thread::current().id());
    }
}
