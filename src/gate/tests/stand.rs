//! A gate with everything around it but the network.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::ask::{Ask, HOST, Seen, Upstream};
use super::doubles::{Shared, TestFacilitator, TestLedger};
use super::wallet::Signed;
use crate::access::PassKeys;
use crate::config;
use crate::facilitator::Facilitators;
use crate::gate::answer::{Answer, Trouble};
use crate::gate::generation::{Generation, QuotedOffer};
use crate::gate::life::{Head, Ticket};
use crate::gate::shared::Patience;
use crate::gate::{Entry, Forward, Gate, Identity, Verdict, unix_millis};
use crate::ledger::{NewPayment, Opening, Record, State, Transition, UnixMillis};
use crate::resolve::Witnesses;
use crate::telemetry::{Metrics, Outcome};

/// More than any test pays for.
const RECEIPTS: usize = 1_000;
/// A wait that does not end within a test.
const LONG: Duration = Duration::from_secs(600);

/// Everything but the routes. `url = "sandbox:"` stands for the [`TestFacilitator`].
pub const HOUSE: &str = r#"
[upstreams.api]
servers = ["127.0.0.1:3000"]

[facilitators.main]
url = "sandbox:"

[pay.usdc]
network = "base-sepolia"
asset = "USDC"
pay_to = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"
facilitators = ["main"]
max_timeout = "60s"
"#;

/// One gate, its ledger and its facilitator, over one generation of a config.
#[derive(Clone)]
pub struct Stand {
    pub gate: Gate,
    pub ledger: Arc<TestLedger>,
    pub facilitator: Arc<TestFacilitator>,
    pub generation: Arc<Generation>,
    metrics: Arc<Metrics>,
}

impl Stand {
    /// A gate for these routes.
    pub async fn new(routes: &str) -> Stand {
        Stand::over(HOUSE, routes).await
    }

    /// A gate for one route, `/paid`, of one dime, with these keys.
    pub async fn paid(keys: &str) -> Stand {
        Stand::new(&route(keys)).await
    }

    /// A gate over another house.
    pub async fn over(house: &str, routes: &str) -> Stand {
        let config = parse(house, routes);
        let mut facilitator = None;
        let facilitators = Facilitators::standing_in(&config.facilitators, &config.ways, |name, config| {
            let made = Arc::new(TestFacilitator::new(name, config));
            facilitator = Some(made.clone());
            Arc::new(Shared(made))
        });
        facilitators.refresh().await;
        let ledger = Arc::new(TestLedger::default());
        let metrics = Metrics::new();
        let witnesses = Arc::new(Witnesses::new(&config.networks, Arc::new(facilitators)).unwrap());
        let generation = Generation::build(Arc::new(config), witnesses, Arc::new(keys()), &metrics, None);
        let patience = Patience {
            outcome: LONG,
            delivery: LONG,
            look_again: Duration::ZERO,
            resolution: LONG,
            write_again: &[Duration::ZERO; 3],
            keep: (Duration::ZERO, Duration::ZERO),
            ask_again: (Duration::ZERO, Duration::ZERO),
        };
        Stand {
            gate: Gate::with_patience(ledger.clone(), metrics.clone(), RECEIPTS, patience),
            ledger,
            facilitator: facilitator.unwrap(),
            generation: Arc::new(generation),
            metrics,
        }
    }

    /// The same house after a reload that was so long ago.
    pub fn reloaded(&self, house: &str, routes: &str, ago: Duration) -> Stand {
        let config = parse(house, routes);
        let facilitators = Facilitators::standing_in(&config.facilitators, &config.ways, |_, _| {
            Arc::new(Shared(self.facilitator.clone()))
        });
        let witnesses = Arc::new(Witnesses::new(&config.networks, Arc::new(facilitators)).unwrap());
        let at = unix_millis() - i64::try_from(ago.as_millis()).unwrap();
        let previous = Some((&*self.generation, at));
        let generation = Generation::build(Arc::new(config), witnesses, Arc::new(keys()), &self.metrics, previous);
        Stand { generation: Arc::new(generation), ..self.clone() }
    }

    /// The same after a restart of the process: what was not in the ledger is gone.
    pub fn restarted(&self) -> Stand {
        let patience = self.gate.shared().patience;
        Stand {
            gate: Gate::with_patience(self.ledger.clone(), self.metrics.clone(), RECEIPTS, patience),
            ..self.clone()
        }
    }

    /// The same, but a retry does not wait until it is found out what became of its payment.
    pub fn without_waiting_for_resolutions(&self) -> Stand {
        let patience = Patience { resolution: Duration::ZERO, ..self.gate.shared().patience };
        Stand {
            gate: Gate::with_patience(self.ledger.clone(), self.metrics.clone(), RECEIPTS, patience),
            ..self.clone()
        }
    }

    /// The same with such pauses between two tries of what could not be written.
    pub fn with_keep(&self, pause: Duration) -> Stand {
        let patience = Patience { keep: (pause, pause), ..self.gate.shared().patience };
        Stand {
            gate: Gate::with_patience(self.ledger.clone(), self.metrics.clone(), RECEIPTS, patience),
            ..self.clone()
        }
    }

    /// The same with pauses between what retries ask: the first, and the longest.
    pub fn asking_seldom(&self, first: Duration, longest: Duration) -> Stand {
        let patience = Patience { ask_again: (first, longest), ..self.gate.shared().patience };
        Stand {
            gate: Gate::with_patience(self.ledger.clone(), self.metrics.clone(), RECEIPTS, patience),
            ..self.clone()
        }
    }

    /// The same with waits of no length for other requests.
    pub fn impatient_with_others(&self) -> Stand {
        let patience = Patience { outcome: Duration::ZERO, delivery: Duration::ZERO, ..self.gate.shared().patience };
        Stand {
            gate: Gate::with_patience(self.ledger.clone(), self.metrics.clone(), RECEIPTS, patience),
            ..self.clone()
        }
    }

    /// The same with waits of no length at all.
    pub fn impatient(&self) -> Stand {
        let (outcome, delivery, resolution) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let patience = Patience { outcome, delivery, resolution, ..self.gate.shared().patience };
        Stand {
            gate: Gate::with_patience(self.ledger.clone(), self.metrics.clone(), RECEIPTS, patience),
            ..self.clone()
        }
    }

    /// The route's first offer.
    pub fn offer(&self, route: &str) -> Arc<QuotedOffer> {
        self.offers(route).into_iter().next().unwrap()
    }

    pub fn offers(&self, route: &str) -> Vec<Arc<QuotedOffer>> {
        let live = self.generation.routes().iter().find(|live| &*live.route.name == route).unwrap();
        live.quote.as_ref().unwrap().offers.clone()
    }

    pub async fn decide(&self, ask: &Ask) -> Verdict {
        self.gate.decide(&self.generation, &ask.facts()).await
    }

    /// A request that must be forwarded on its payment.
    pub async fn ticket(&self, ask: &Ask) -> Ticket {
        match self.decide(ask).await {
            Verdict::Forward(forward) => match forward.entry {
                Entry::Paid { ticket, .. } => ticket,
                Entry::Free | Entry::Allowance | Entry::Window { .. } => {
                    panic!("forwarded, but not on a payment: {:?}", forward.outcome)
                }
            },
            Verdict::Answer { answer, .. } => panic!("not forwarded: {answer:?}"),
        }
    }

    /// A request from its beginning to its end, all writes done.
    pub async fn visit(&self, ask: &Ask, upstream: Upstream) -> Seen {
        let seen = self.visit_without_rest(ask, upstream).await;
        self.rest().await;
        seen
    }

    /// The same, while others are under way.
    pub async fn visit_without_rest(&self, ask: &Ask, upstream: Upstream) -> Seen {
        match self.decide(ask).await {
            Verdict::Answer { answer, outcome, .. } => seen(answer, outcome, false),
            Verdict::Forward(forward) => forwarded(*forward, upstream).await,
        }
    }

    /// Waits for settlements and last writes that outlive their requests.
    pub async fn rest(&self) {
        let tasks = &self.gate.shared().tasks;
        tasks.close();
        tasks.wait().await;
        tasks.reopen();
    }

    /// Waits until everything is written that could not be when it happened.
    pub async fn catch_up(&self) {
        let keepers = &self.gate.shared().keepers;
        keepers.close();
        keepers.wait().await;
        keepers.reopen();
    }

    /// How often money moved.
    pub fn transfers(&self) -> u64 {
        self.facilitator.sandbox.transfers()
    }

    /// What is counted as revenue, in atomic units.
    pub fn revenue(&self) -> f64 {
        let shown = self.metrics.render();
        let series = shown.lines().filter(|line| line.starts_with("farebox_revenue_atomic_total{"));
        series.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    }

    pub async fn state(&self, signed: &Signed) -> Option<State> {
        self.ledger.record(&signed.id()).await.map(|record| record.state)
    }

    pub async fn record(&self, signed: &Signed) -> Record {
        self.ledger.record(&signed.id()).await.expect("a record")
    }

    /// Puts a payment into the ledger that was settled at that time.
    pub async fn settled_at(&self, signed: &Signed, route: &str, at: UnixMillis) {
        self.opened_at(signed, route, Opening::Settling, at).await;
        let settled = Transition::Settled {
            facilitator: "main".into(),
            transaction: "0xfeed".into(),
            payer: Some(signed.authorization.from.to_string().into()),
        };
        use crate::ledger::Ledger as _;
        self.ledger.inner.advance(&signed.id(), settled, at).await.unwrap();
    }

    /// Puts a payment into the ledger that a dead request left there.
    pub async fn opened_at(&self, signed: &Signed, route: &str, opening: Opening, at: UnixMillis) {
        use crate::ledger::Ledger as _;
        let payment = NewPayment {
            id: signed.id(),
            digest: signed.digest(),
            route: route.into(),
            host: HOST.into(),
            payer: signed.authorization.from.to_string().into(),
            network: signed.offer.network.clone(),
            asset: signed.offer.asset.address.clone(),
            amount: signed.offer.amount,
            way: signed.offer.way.clone(),
            settle_request: "{}".into(),
            valid_before: Some(signed.authorization.valid_before),
            now: at,
        };
        self.ledger.inner.reserve(payment, opening).await.unwrap();
    }
}

/// The route `/paid` with these keys besides.
pub fn route(keys: &str) -> String {
    format!("[[route]]\nname = \"paid\"\npath = \"/paid\"\nprice = \"0.10\"\n{keys}\n")
}

/// What the proxy does with a request that may pass.
pub async fn forwarded(forward: Forward, upstream: Upstream) -> Seen {
    let outcome = forward.outcome;
    let (mut ticket, identity) = match forward.entry {
        Entry::Free | Entry::Allowance => return passed(upstream, outcome, None),
        Entry::Window { identity, undelivered } => {
            let seen = passed(upstream, outcome, Some(*identity));
            if let Some(undelivered) = undelivered {
                undelivered.finish(seen.served);
            }
            return seen;
        }
        Entry::Paid { ticket, identity } => (ticket, *identity),
    };
    let (status, complete) = match upstream {
        Upstream::Answers(status) => (status, true),
        Upstream::BreaksOff(status) => (status, false),
        Upstream::Fails => {
            let unpaid = ticket.upstream_failed(Trouble::UpstreamUnreachable).await;
            ticket.finish(false);
            return Seen { identity: Some(identity), ..seen(unpaid.answer, unpaid.outcome, true) };
        }
    };
    let status = StatusCode::from_u16(status).unwrap();
    let head = ticket.head(status).await;
    let good = matches!(head, Head::Send(_)) && status.as_u16() < 400;
    ticket.finish(complete && good);
    match head {
        Head::Send(patch) => {
            let mut seen = passed(upstream, outcome, Some(identity));
            seen.headers = patch.set;
            seen.headers.extend(patch.cookie.map(|cookie| (http::header::SET_COOKIE, cookie)));
            seen
        }
        Head::Replace(unpaid) => Seen { identity: Some(identity), ..seen(unpaid.answer, unpaid.outcome, true) },
    }
}

fn passed(upstream: Upstream, outcome: Outcome, identity: Option<Identity>) -> Seen {
    let (status, served) = match upstream {
        Upstream::Answers(status) => (status, status < 400),
        Upstream::BreaksOff(status) => (status, false),
        Upstream::Fails => (502, false),
    };
    Seen { status, outcome, served, forwarded: true, headers: Vec::new(), body: Value::Null, identity }
}

fn seen(answer: Answer, outcome: Outcome, forwarded: bool) -> Seen {
    let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let (status, headers) = (answer.status.as_u16(), answer.headers);
    Seen { status, outcome, served: false, forwarded, headers, body, identity: None }
}

fn parse(house: &str, routes: &str) -> config::Config {
    let text = format!("{house}\n{routes}");
    match config::parse(&text, "test.toml", Path::new("."), &|_| None) {
        Ok(loaded) => loaded.config,
        Err(report) => panic!("{report}"),
    }
}

fn keys() -> PassKeys {
    PassKeys::new([("test", &[7u8; 32][..])]).unwrap()
}
