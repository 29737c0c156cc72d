//! Requests that a limit turns away, and those that an allowance lets pass.
//!
//! A limit is judged before anything is charged. It does not keep back what was paid for: a request whose payment has
//! settled and was not delivered passes.

use std::time::Duration;

use http::header;

use super::admit::{Admission, payment_header};
use super::answer::{Answer, Trouble};
use super::facts::Facts;
use super::generation::{Generation, LiveRoute};
use super::{Entry, Gate, Request, Verdict, answered};
use crate::config::{LimitBy, Rate};
use crate::ledger::{LedgerError, Record, State};
use crate::limit::{ClientNet, Scope, Subject};
use crate::telemetry::{Limit, Outcome};
use crate::x402::header as wire;

/// How often one payment passes its route's limit until it is delivered: who breaks off each response gets no more.
const REDELIVERIES: Rate = Rate { count: 10, per: Duration::from_secs(60) };

/// A limit is reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Over {
    limit: Limit,
    wait: Duration,
}

impl Gate {
    /// Counts a request against its route's limit by client address.
    pub(super) fn client_may(&self, generation: &Generation, live: &LiveRoute, facts: &Facts<'_>) -> Result<(), Over> {
        match live.route.limit {
            Some(limit) if limit.by == LimitBy::Client => {
                let (scope, client) = (Scope::Route(&live.route.name), Subject::Client(client(generation, facts)));
                self.count(Limit::Client, scope, client, limit.rate)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Counts a request against its route's limit by payer. Who has not proven who pays is counted by its address:
    /// anybody could name somebody else.
    pub(super) fn payer_may(&self, request: &Request<'_>, proven: Option<&str>) -> Result<(), Over> {
        let Request { generation, live, facts, .. } = request;
        match live.route.limit {
            Some(limit) if limit.by == LimitBy::Payer => {
                let payer = proven.filter(|payer| !payer.is_empty());
                let payer = payer.map_or_else(|| Subject::Client(client(generation, facts)), Subject::Payer);
                self.count(Limit::Payer, Scope::Route(&live.route.name), payer, limit.rate)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Counts a payment that the ledger and a facilitator are to be asked about.
    pub(super) fn payment_may(&self, request: &Request<'_>) -> Result<(), Over> {
        let client = Subject::Client(client(request.generation, request.facts));
        self.count(Limit::Payments, Scope::Payments, client, request.generation.config.server.payment_limit)
    }

    fn count(&self, limit: Limit, scope: Scope<'_>, subject: Subject<'_>, rate: Rate) -> Result<(), Over> {
        let limits = &self.shared.limits;
        limits.count(scope, subject, rate, self.elapsed()).map_err(|wait| Over { limit, wait })
    }

    /// One of the client's free uses of a priced route, where it has one left.
    pub(super) fn free_use(&self, request: &Request<'_>) -> Option<Verdict> {
        let allowance = request.quote.terms.free?;
        let client = client(request.generation, request.facts);
        let taken = self.shared.limits.take_free(&request.live.route.name, client, allowance, self.elapsed());
        taken.then(|| request.forward(Entry::Allowance, Outcome::Allowance))
    }

    fn elapsed(&self) -> Duration {
        let elapsed = self.shared.limits.elapsed();
        #[cfg(test)]
        let elapsed = super::tests::clock::elapsed().unwrap_or(elapsed);
        elapsed
    }

    /// The body that a priced request announces is longer than what is taken.
    pub(super) fn too_long(&self, request: &Request<'_>) -> Option<Verdict> {
        let bytes_max = request.generation.config.server.request_body_bytes;
        let length = request.facts.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok()?;
        (length > bytes_max).then(|| {
            self.shared.metrics.refused(Limit::RequestBodyBytes);
            let answer = Answer::trouble(&Trouble::BodyTooLarge { bytes_max }, None);
            answered(answer, Outcome::Limited, Some(request.index))
        })
    }

    /// What a request gets whose client has reached a priced route's limit.
    pub(super) async fn turn_away(&self, request: &Request<'_>, over: Over) -> Verdict {
        let header = payment_header(request.facts, request.generation.config.server.payment_header_bytes);
        let Ok(Some((dialect, value))) = header else {
            return self.limited(over, request.index, false);
        };
        let Ok(payment) = wire::decode_payment(dialect, value) else {
            return self.limited(over, request.index, false);
        };
        // Nobody has looked at the payment yet, and the ledger is asked for it.
        if self.payment_may(request).is_err() {
            return self.limited(over, request.index, true);
        }
        match Admission::new(self, request, payment).is_owed().await {
            Ok(true) => self.by_payment(request, dialect, value).await,
            Ok(false) => self.limited(over, request.index, true),
            Err(error) => request.ledger_down(error),
        }
    }

    /// The answer to a request that a rate turns away. `paying`: it brought a payment, which stays good.
    pub(super) fn limited(&self, over: Over, route: usize, paying: bool) -> Verdict {
        answered(self.limited_answer(over, paying), Outcome::Limited, Some(route))
    }

    pub(super) fn limited_answer(&self, over: Over, paying: bool) -> Answer {
        self.shared.metrics.refused(over.limit);
        Answer::trouble(&Trouble::TooOften { limit: over.limit, wait: over.wait, paying }, None)
    }
}

impl Admission<'_> {
    /// Counts the request against limits that only its payment tells apart: before the ledger is asked to reserve it,
    /// and before a facilitator is asked anything.
    pub(super) async fn may_come(&self, payer: Option<&str>) -> Result<(), Verdict> {
        let over = match self.gate.payer_may(self.request, payer) {
            Ok(()) => return Ok(()),
            Err(over) => over,
        };
        match self.is_owed().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.limited(over)),
            Err(error) => Err(self.ledger_down(error)),
        }
    }

    pub(super) fn limited(&self, over: Over) -> Verdict {
        self.answer(self.gate.limited_answer(over, true), Outcome::Limited)
    }

    /// Whether this very payment has settled and was not delivered, and is not tried too often.
    async fn is_owed(&self) -> Result<bool, LedgerError> {
        let is_owed = |record: &Record| record.state == State::Settled && record.delivered_at.is_none();
        let Some(record) = self.earlier_record().await?.filter(is_owed) else { return Ok(false) };
        let (limits, payment) = (&self.gate.shared.limits, Subject::Payment(record.id.as_str()));
        Ok(limits.count(Scope::Owed, payment, REDELIVERIES, self.gate.elapsed()).is_ok())
    }
}

fn client(generation: &Generation, facts: &Facts<'_>) -> ClientNet {
    let server = &generation.config.server;
    facts.client(&server.trusted_proxies, server.client_header).into()
}
