//! One generation of the config with all that lives beside it: quoted offers, rendered challenges, the
//! facilitators that settle them. Built whole, swapped whole, never changed.

use std::collections::HashMap;
use std::sync::Arc;

use alloy::primitives::Address;
use serde_json::{Map, Value, json};

use super::identity::Signer;
use super::quoted::{self, Quoted};
use crate::access::{PassCookie, PassKeys};
use crate::config::{Charge, Config, Route, Terms};
use crate::evm::eip3009::Token;
use crate::facilitator::Facilitators;
use crate::facilitator::pool::Pool;
use crate::ledger::UnixMillis;
use crate::resolve::Witnesses;
use crate::telemetry::{Metrics, RouteMetrics};
use crate::x402::Offer;
use crate::x402::challenge::ChallengeTemplate;

/// With so many routes all of them have their series in the metrics from the start, 35 each; of more, those that were
/// asked for: a scrape is one text, and it would be hundreds of megabytes.
const SHOWN_MAX: usize = 1_000;

/// A compiled config and what its routes need at work.
pub struct Generation {
    /// What the file says.
    pub config: Arc<Config>,
    /// Who settles.
    pub facilitators: Arc<Facilitators>,
    /// Who knows what became of a payment.
    pub witnesses: Arc<Witnesses>,
    /// What signs and checks passes.
    pub pass_keys: Arc<PassKeys>,
    /// What signs what upstreams are told; `None`: nothing is signed.
    pub signer: Option<Signer>,
    /// By the matcher's index.
    routes: Vec<LiveRoute>,
    /// What earlier generations quoted.
    quoted: Quoted,
}

/// A route at work.
pub struct LiveRoute {
    /// What the file says.
    pub route: Arc<Route>,
    /// Its counters.
    pub metrics: Arc<RouteMetrics>,
    /// What it asks for; `None` where it is free.
    pub quote: Option<Arc<Quote>>,
}

/// A priced route's offers as its challenge shows them.
pub struct Quote {
    /// What the file says.
    pub terms: Arc<Terms>,
    /// Every offer that can be paid right now.
    pub offers: Vec<Arc<QuotedOffer>>,
    /// The challenge that shows them.
    pub challenge: ChallengeTemplate,
    /// Carries a browser's pass.
    pub cookie: PassCookie,
}

/// An offer with what its payments are checked with.
pub struct QuotedOffer {
    /// With the `extra` that the facilitator supplied.
    pub offer: Offer,
    /// The token's EIP-712 domain; `None` off EVM.
    pub token: Option<Token>,
    /// Who settles it.
    pub pool: Arc<Pool>,
}

impl Generation {
    /// Builds the next generation. `previous` and the time of the swap keep its quotes good.
    pub fn build(
        config: Arc<Config>,
        witnesses: Arc<Witnesses>,
        pass_keys: Arc<PassKeys>,
        metrics: &Metrics,
        previous: Option<(&Generation, UnixMillis)>,
    ) -> Generation {
        let facilitators = witnesses.facilitators().clone();
        let shows = config.routes.len() <= SHOWN_MAX;
        let handle = |route: &Route| {
            let handle = metrics.for_route(route.name.clone());
            if shows {
                handle.show();
            }
            handle
        };
        let mut supply = Supply::of(&facilitators);
        let routes: Vec<LiveRoute> = config
            .routes
            .iter()
            .map(|route| LiveRoute {
                route: route.clone(),
                metrics: handle(route),
                quote: match &route.charge {
                    Charge::Free => None,
                    Charge::Priced(terms) => Some(Arc::new(Quote::of(&route.name, terms, &mut supply))),
                },
            })
            .collect();
        let quoted = previous.map(|(previous, at)| previous.quoted_after(&routes, at)).unwrap_or_default();
        let signer = Signer::new(&config.server.upstream_secrets);
        Generation { config, facilitators, witnesses, pass_keys, signer, routes, quoted }
    }

    /// The same config with what the facilitators supply by now; `None` where that changes no offer.
    pub fn requote(&self, metrics: &Metrics, now: UnixMillis) -> Option<Generation> {
        let mut supply = Supply::of(&self.facilitators);
        let mut stale = |quote: &Quote| {
            let now = supply.quote_all(&quote.terms);
            !now.iter().map(|quoted| &quoted.offer).eq(quote.offers.iter().map(|quoted| &quoted.offer))
        };
        if !self.quotes().any(|(_, quote)| stale(quote)) {
            return None;
        }
        let (config, witnesses) = (self.config.clone(), self.witnesses.clone());
        Some(Generation::build(config, witnesses, self.pass_keys.clone(), metrics, Some((self, now))))
    }

    /// The route of that index of the matcher.
    pub fn route(&self, index: usize) -> Option<&LiveRoute> {
        self.routes.get(index)
    }

    /// Every route.
    pub fn routes(&self) -> &[LiveRoute] {
        &self.routes
    }

    /// For the operator: each route that nobody could be paid for right now, in a sentence. With many routes this takes
    /// a while.
    pub fn not_ready(&self) -> Vec<String> {
        let is_ready = |quote: &Quote| quote.offers.iter().any(|quoted| quoted.pool.is_ready_for(&quoted.offer));
        let unready = self.quotes().filter(|(_, quote)| !is_ready(quote));
        unready.map(|(name, _)| format!("route {name}: no facilitator that settles it answers")).collect()
    }

    /// For the operator: each route as JSON. With many routes this takes a while.
    pub fn status(&self) -> serde_json::Value {
        let route = |live: &LiveRoute| {
            json!({
                "name": live.route.name,
                "match": live.route.shown,
                "upstream": live.route.upstream,
                "offers": live.quote.as_ref().map(|quote| quote.offers.len()),
            })
        };
        self.routes.iter().map(route).collect()
    }

    /// What earlier generations quoted for a route of that name and what is still honoured, newest first.
    pub fn earlier_offers(&self, route: &str, now: UnixMillis) -> impl Iterator<Item = &Arc<QuotedOffer>> {
        self.quoted.honoured(route, now)
    }

    /// Everything that is remembered of what earlier generations quoted for a route of that name: what a payment that
    /// was settled then may have paid.
    pub fn remembered_offers(&self, route: &str) -> impl Iterator<Item = &Arc<QuotedOffer>> {
        self.quoted.remembered(route)
    }

    /// What each priced route asks for, by its name.
    fn quotes(&self) -> impl Iterator<Item = (&Arc<str>, &Quote)> {
        quotes(&self.routes)
    }

    /// What has been quoted when these routes take the place of this generation's. What they still ask for is not
    /// remembered: it is in force.
    fn quoted_after(&self, routes: &[LiveRoute], now: UnixMillis) -> Quoted {
        let next: HashMap<&Arc<str>, &Quote> = quotes(routes).collect();
        let ends =
            |(name, quote): &(&Arc<str>, &Quote)| !next.get(name).is_some_and(|next| next.asks_for_all_of(quote));
        self.quoted.and(self.quotes().filter(ends), now, quoted::OFFERS_MAX)
    }
}

fn quotes(routes: &[LiveRoute]) -> impl Iterator<Item = (&Arc<str>, &Quote)> {
    routes.iter().filter_map(|live| Some((&live.route.name, live.quote.as_deref()?)))
}

impl Quote {
    fn of(route: &str, terms: &Arc<Terms>, supply: &mut Supply<'_>) -> Quote {
        let offers = supply.quote_all(terms);
        let shown: Vec<Offer> = offers.iter().map(|quoted| quoted.offer.clone()).collect();
        let challenge = ChallengeTemplate::new(&shown, &terms.description, &terms.mime_type);
        Quote { terms: terms.clone(), offers, challenge, cookie: PassCookie::of(route) }
    }

    /// Whether each way to pay that the other quote offers is among these.
    fn asks_for_all_of(&self, other: &Quote) -> bool {
        other.offers.iter().all(|theirs| self.offers.iter().any(|ours| ours.offer == theirs.offer))
    }
}

/// What each way to pay needs besides an amount: asked for once, and the same for all routes that offer it.
struct Supply<'a> {
    facilitators: &'a Facilitators,
    /// By `[pay.NAME]`.
    ways: HashMap<Arc<str>, Option<Supplied>>,
}

struct Supplied {
    /// With what the facilitator supplied.
    extra: Arc<Map<String, Value>>,
    /// As in [`QuotedOffer`].
    token: Option<Token>,
    /// Who settles it.
    pool: Arc<Pool>,
}

impl<'a> Supply<'a> {
    fn of(facilitators: &'a Facilitators) -> Supply<'a> {
        Supply { facilitators, ways: HashMap::new() }
    }

    /// The offers that can be paid with what the facilitators supply.
    fn quote_all(&mut self, terms: &Terms) -> Vec<Arc<QuotedOffer>> {
        terms.offers.iter().filter_map(|offer| self.quote(offer)).map(Arc::new).collect()
    }

    fn quote(&mut self, offer: &Offer) -> Option<QuotedOffer> {
        let supplied = self.ways.entry(offer.way.clone()).or_insert_with(|| Supplied::of(offer, self.facilitators));
        let Supplied { extra, token, pool } = supplied.as_ref()?;
        let offer = Offer { extra: extra.clone(), ..offer.clone() };
        Some(QuotedOffer { offer, token: *token, pool: pool.clone() })
    }
}

impl Supplied {
    /// `None` where the scheme needs something that no facilitator has supplied yet, such as Solana's `feePayer`.
    fn of(offer: &Offer, facilitators: &Facilitators) -> Option<Supplied> {
        let pool = facilitators.pool(&offer.way)?.clone();
        let Offer { extra, network, asset, .. } = pool.offer_with_extra(offer)?;
        let token = network.evm_chain_id().zip(asset.eip712.as_ref()).and_then(|(chain_id, domain)| {
            let address: Address = asset.address.parse().ok()?;
            Some(Token::new(chain_id, address, domain))
        });
        Some(Supplied { extra, token, pool })
    }
}
