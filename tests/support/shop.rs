//! A gate in this process that sells as much as is asked for, for tests and benches that look inside.

use std::path::Path;
use std::sync::Arc;

use farebox::access::{Claims, Pass, PassKeys};
use farebox::config;
use farebox::facilitator::{Facilitators, NoObserver};
use farebox::gate::facts::Facts;
use farebox::gate::generation::Generation;
use farebox::gate::{Gate, Verdict, unix_millis};
use farebox::ledger::memory::MemoryLedger;
use farebox::resolve::Witnesses;
use farebox::telemetry::Metrics;
use farebox::x402::PaymentId;
use http::{HeaderMap, Method};

/// What clients ask.
pub const HOST: &str = "api.example.com";

/// A config with so many priced routes, `/paid-N/*`, and as many free ones, `/free-N/*`.
pub fn file(routes: usize) -> String {
    let mut text = r#"
[upstreams.api]
servers = ["127.0.0.1:3000"]
[facilitators.main]
url = "sandbox:"
[pay.usdc]
network = "base-sepolia"
asset = "USDC"
pay_to = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
facilitators = ["main"]
"#
    .to_owned();
    for n in 0..routes {
        text.push_str(&format!(
            "[[route]]\nname = \"paid-{n}\"\npath = \"/paid-{n}/*\"\nupstream = \"api\"\nprice = \"$0.01\"\nwindow = \"1h\"\n\
             [[route]]\nname = \"free-{n}\"\npath = \"/free-{n}/*\"\nupstream = \"api\"\nprice = \"free\"\n"
        ));
    }
    text
}

/// The gate and the config that it works by.
pub struct Shop {
    pub gate: Gate,
    pub generation: Arc<Generation>,
}

impl Shop {
    /// Of a config's text.
    pub fn open(text: &str) -> Shop {
        let config = config::parse(text, "gateway.toml", Path::new("."), &|_| None).expect("a config").config;
        let facilitators = Facilitators::new(&config.facilitators, &config.ways, None, Arc::new(NoObserver));
        let witnesses = Witnesses::new(&config.networks, Arc::new(facilitators.expect("facilitators")));
        let keys = PassKeys::new([("a", &[1; 32][..])]).expect("keys");
        let metrics = Metrics::new();
        let witnesses = Arc::new(witnesses.expect("witnesses"));
        let generation = Generation::build(Arc::new(config), witnesses, Arc::new(keys), &metrics, None);
        let gate = Gate::new(Arc::new(MemoryLedger::default()), metrics, 1000);
        Shop { gate, generation: Arc::new(generation) }
    }

    /// A pass for a route that opens as often as one likes.
    pub fn pass(&self, route: &str) -> String {
        let claims = Claims {
            payer: "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC".into(),
            payment_id: PaymentId::parse(&"ab".repeat(32)).expect("an id"),
            expires_at: u64::MAX / 1000,
            uses: None,
        };
        self.generation.pass_keys.issue(&Pass { route, host: HOST, claims })
    }

    /// What the gate says of a GET.
    pub async fn judge(&self, target: &str, headers: &HeaderMap) -> Verdict {
        let facts = Facts {
            method: &Method::GET,
            target: target.as_bytes(),
            authority: HOST,
            host: HOST,
            encrypted: false,
            peer: [127, 0, 0, 1].into(),
            headers,
            now: unix_millis(),
        };
        self.gate.decide(&self.generation, &facts).await
    }
}

/// Header fields.
pub fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &str)| {
        (http::HeaderName::from_static(name), value.parse().expect("a field's value"))
    };
    fields.iter().map(field).collect()
}
