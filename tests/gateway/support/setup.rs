//! The file that a gateway under test reads.

use std::net::SocketAddr;

use super::{FakeFacilitator, Upstream};

/// Who is paid in every test: an address with letters in both cases, so that its checksum matters.
pub const PAY_TO: &str = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";

/// A config, section by section. What is added to a section stands in it as TOML.
#[derive(Debug, Clone)]
pub struct Setup {
    server: String,
    head: String,
    facilitators: String,
    pay: String,
    upstream: String,
    routes: Vec<(String, String)>,
    ledger: String,
    ledger_keys: String,
}

impl Setup {
    pub fn new(upstream: &Upstream, facilitator: &FakeFacilitator) -> Setup {
        Setup::at(upstream.address(), &format!("url = \"http://{}\"", facilitator.address()))
    }

    /// With a facilitator that is described in TOML.
    pub fn at(upstream: SocketAddr, facilitator: &str) -> Setup {
        Setup {
            server: String::new(),
            head: String::new(),
            facilitators: format!("[facilitators.main]\n{facilitator}\n"),
            pay: format!(
                "[pay.usdc]\nnetwork = \"base-sepolia\"\nasset = \"USDC\"\npay_to = \"{PAY_TO}\"\nfacilitators = [\"main\"]\n"
            ),
            upstream: format!("[upstreams.api]\nservers = [\"{upstream}\"]\n"),
            routes: Vec::new(),
            ledger: "sqlite:farebox.db".into(),
            ledger_keys: String::new(),
        }
    }

    /// Adds a route, or replaces the one of that name.
    pub fn route(mut self, name: &str, path: &str, keys: &str) -> Setup {
        let text = format!("[[route]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"api\"\n{keys}\n");
        match self.routes.iter_mut().find(|(known, _)| known == name) {
            Some(route) => route.1 = text,
            None => self.routes.push((name.into(), text)),
        }
        self
    }

    /// Adds keys to `[server]`.
    pub fn server(mut self, keys: &str) -> Setup {
        self.server.push_str(&format!("{keys}\n"));
        self
    }

    /// Adds keys to `[upstreams.api]`.
    pub fn upstream(mut self, keys: &str) -> Setup {
        self.upstream.push_str(&format!("{keys}\n"));
        self
    }

    /// Adds keys to `[facilitators.main]`.
    pub fn facilitator(mut self, keys: &str) -> Setup {
        self.facilitators.push_str(&format!("{keys}\n"));
        self
    }

    /// Replaces the facilitators that settle `[pay.usdc]`.
    pub fn facilitators(mut self, names: &[&str]) -> Setup {
        self.pay = self.pay.replace("[\"main\"]", &format!("{names:?}"));
        self
    }

    /// Adds whole sections.
    pub fn sections(mut self, text: &str) -> Setup {
        self.head.push_str(&format!("{text}\n"));
        self
    }

    /// Replaces `[ledger] url`.
    pub fn ledger(mut self, url: &str) -> Setup {
        self.ledger = url.into();
        self
    }

    /// Adds keys to `[ledger]`.
    pub fn ledger_keys(mut self, keys: &str) -> Setup {
        self.ledger_keys.push_str(&format!("{keys}\n"));
        self
    }

    /// The file's text for a gateway on these ports.
    pub fn render(&self, port: u16, admin_port: u16) -> String {
        let Setup { server, head, facilitators, pay, upstream, routes, ledger, ledger_keys } = self;
        let routes: String = routes.iter().map(|(_, text)| text.as_str()).collect();
        // All of a test's payers have one address.
        let crowd = if server.contains("payment_limit") { "" } else { "payment_limit = \"1000000/s\"\n" };
        format!(
            "[server]\nlisten = [\"127.0.0.1:{port}\"]\nthreads = 2\n{crowd}{server}\n\
             [admin]\nlisten = \"127.0.0.1:{admin_port}\"\n\n\
             [ledger]\nurl = \"{ledger}\"\n{ledger_keys}\n{head}\n{facilitators}\n{pay}\n{upstream}\n{routes}"
        )
    }
}
