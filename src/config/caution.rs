//! What works and should be looked at all the same: warnings that take more than one section to see.

use super::declared::Declarations;
use super::diagnostic::Diagnostic;
use super::facilitator::{FacilitatorAt, FacilitatorConfig};
use super::ledger::{self, LedgerUrl};
use super::network::Networks;
use super::route::Routes;
use super::section::Reader;
use super::server::Listeners;
use super::terms::Charge;
use super::upstream::Upstream;
use super::way::FullWay;

/// Everything that was read.
pub(super) struct Whole<'a> {
    pub(super) listeners: &'a Listeners<'a>,
    pub(super) ledger: &'a ledger::Read,
    pub(super) facilitators: &'a Declarations<FacilitatorConfig>,
    pub(super) networks: &'a Networks,
    pub(super) ways: &'a Declarations<FullWay>,
    pub(super) upstreams: &'a Declarations<Upstream>,
    pub(super) routes: &'a Routes,
}

impl Whole<'_> {
    /// Warns.
    pub(super) fn check(&self, reader: &mut Reader<'_>) {
        self.public_url(reader);
        self.sandbox(reader);
        self.v1_clients(reader);
        self.memory(reader);
        self.nothing_priced(reader);
        self.facilitators.warn_unused(reader);
        self.networks.warn_unused(reader, self.ways);
        self.ways.warn_unused(reader);
        self.upstreams.warn_unused(reader);
    }

    /// A mainnet challenge should name an address that a client can trust.
    fn public_url(&self, reader: &mut Reader<'_>) {
        let priced = self.routes.routes.iter().find_map(|read| match &read.route.charge {
            Charge::Priced(terms) if terms.offers.iter().any(|offer| !offer.network.is_testnet()) => {
                read.price.as_ref()
            }
            Charge::Priced(_) | Charge::Free => None,
        });
        let Some(priced) = priced else { return };
        let help = "write `public_url = \"https://…\"` in [server]: the address that clients use";
        match (&self.listeners.server.public_url, &self.listeners.public_url_at) {
            (None, None) => reader.report(Diagnostic::warning(
                priced.at.clone(),
                "a route is sold for real money, and challenges advertise whatever host a client sent",
                help,
            )),
            (Some(url), Some(at)) if url.scheme() == "http" => reader.report(Diagnostic::warning(
                at.span.clone(),
                "a route is sold for real money over http://: payments and passes travel in the clear",
                help,
            )),
            (Some(_) | None, Some(_)) | (Some(_), None) => {}
        }
    }

    /// The sandbox gives goods for play money.
    fn sandbox(&self, reader: &mut Reader<'_>) {
        let is_sandbox = |name: &str| {
            self.facilitators
                .right()
                .any(|(other, _, facilitator)| &**other == name && matches!(facilitator.at, FacilitatorAt::Sandbox(_)))
        };
        let mut real = None;
        for (name, _, way) in self.ways.right() {
            let sandboxed = way.facilitators.iter().filter(|name| is_sandbox(name)).count();
            if sandboxed > 0 && !way.network.is_testnet() {
                let title = format!("`{name}` asks for real money, and its sandbox takes play money for it");
                let help = "settle it with a facilitator of the network, or use a testnet such as \"base-sepolia\"";
                let at = way.facilitators_at.clone();
                reader.report(Diagnostic::warning(at, title, help).also(way.network_at.clone(), "a real network"));
            } else if sandboxed > 0 && sandboxed < way.facilitators.len() {
                let title = format!("`{name}` is settled by a sandbox or on the chain, whichever answers");
                let help = "use the one or the other";
                reader.report(Diagnostic::warning(way.facilitators_at.clone(), title, help));
            } else if !way.network.is_testnet() {
                real = real.or(Some(way.network_at.clone()));
            }
        }
        let Some(real) = real else { return };
        for (name, declared, facilitator) in self.facilitators.right() {
            if matches!(facilitator.at, FacilitatorAt::Sandbox(_)) {
                let title = format!("the sandbox `{name}` stands beside a way to pay with real money");
                let help = "keep play money in a file of its own: what it buys is given away";
                let warning = Diagnostic::warning(declared.span.clone(), title, help);
                reader.report(warning.also(real.clone(), "real money"));
            }
        }
    }

    fn v1_clients(&self, reader: &mut Reader<'_>) {
        for (name, _, way) in self.ways.right() {
            if way.network.v1_name().is_none() {
                reader.report(Diagnostic::warning(
                    way.network_at.clone(),
                    format!("clients of x402 v1 cannot pay `{name}`: they do not know this network"),
                    "nothing is wrong with it; offer a way on \"base\" beside it to reach them too",
                ));
            }
        }
    }

    fn memory(&self, reader: &mut Reader<'_>) {
        let http = self.facilitators.right().any(|(_, _, facilitator)| match &facilitator.at {
            FacilitatorAt::Http(_) => true,
            FacilitatorAt::Sandbox(_) => false,
        });
        if self.ledger.url.value == LedgerUrl::Memory && http {
            reader.report(Diagnostic::warning(
                self.ledger.url.span.clone(),
                "payments are forgotten when the process ends: a restart can lose money",
                "write \"sqlite:farebox.db\"",
            ));
        }
    }

    fn nothing_priced(&self, reader: &mut Reader<'_>) {
        let priced = self.routes.routes.iter().any(|read| read.price.is_some());
        if !priced {
            reader.report(Diagnostic::warning(
                0..0,
                "no route has a price",
                "give a [[route]] a `price` such as \"$0.01\"",
            ));
        }
    }
}
