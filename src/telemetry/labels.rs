//! What may stand in a metric's label: closed sets, so that no client can make a new time series.
//!
//! Names of routes, upstreams and facilitators, networks and assets come from the config file; everything else is
//! an enum of this file, or a `&'static str` from another room's enum.

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];

    /// The value as it is exported.
    fn label(self) -> &'static str;

    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;
}

macro_rules! labels {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$means:meta])* $variant:ident => $label:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$means])* $variant,)+
        }

        impl Label for $name {
            const ALL: &'static [Self] = &[$($name::$variant,)+];

            fn label(self) -> &'static str {
                match self {
                    $($name::$variant => $label,)+
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

labels! {
    /// Why a client's connection was closed by the gateway. What ends with the client, with a response or with the
    /// process is not among them.
    pub enum Closed {
        /// There were `server.connections` already.
        Surplus => "connections",
        /// `server.header_timeout` was over: no whole request head, PROXY header or TLS handshake.
        Header => "header_timeout",
        /// `server.idle_timeout` was over without a request.
        Idle => "idle_timeout",
        /// `server.body_timeout` was over: a request's body stood still.
        Body => "body_timeout",
        /// `server.send_timeout` was over: the client took nothing of what was sent.
        Send => "send_timeout",
        /// It had to begin with a PROXY header and did not.
        ProxyHeader => "proxy_protocol",
        /// The TLS handshake failed.
        Handshake => "tls_handshake",
    }
}

labels! {
    /// How a request ended; each request has exactly one.
    pub enum Outcome {
        /// Forwarded free of charge.
        Free => "free",
        /// Forwarded free of charge on a priced route: one of the client's free uses.
        Allowance => "allowance",
        /// Came without a payment and was answered 402 with the route's terms.
        Challenge => "challenge",
        /// Settled, and forwarded.
        Paid => "paid",
        /// Forwarded inside a window: by a pass, or by a payment that had been settled before.
        Window => "window",
        /// Forwarded on a payment that was settled earlier but never delivered.
        Redelivered => "redelivered",
        /// Came with a good payment, but the upstream answered with an error and nothing was charged.
        Released => "released",
        /// The payment was refused: 402 with the terms again.
        Refused => "refused",
        /// The payment header could not be read: 400.
        Malformed => "malformed",
        /// A CORS preflight that was answered here.
        Preflight => "preflight",
        /// No route matches: 404.
        Unmatched => "unmatched",
        /// The request can be read in two ways, or its target has no canonical form: 400; or 501 for `TRACE`.
        BadTarget => "bad_target",
        /// The head is larger than `[server] header_bytes`, or has too many fields: 431.
        HeadTooLarge => "head_too_large",
        /// The settlement's outcome is unknown, or another request still holds the payment: 503, send the same again.
        Pending => "pending",
        /// Turned away by a limit: 413, 429 or 503, nothing was charged.
        Limited => "limited",
        /// The ledger or every facilitator is unavailable: 503, nothing was charged.
        Unavailable => "unavailable",
        /// The upstream gave no answer, or broke off before its head: 502 or 504.
        UpstreamError => "upstream_error",
        /// The client hung up before it could be answered.
        ClientGone => "client_gone",
        /// A fault of the gateway itself: 500.
        InternalError => "internal_error",
    }
}

labels! {
    /// The limit that turned a request away, by its key in the config.
    pub enum Limit {
        /// A route's `limit`, by client address: 429.
        Client => "client_limit",
        /// A route's `limit`, by payer: 429.
        Payer => "payer_limit",
        /// `payment_limit`: 429.
        Payments => "payment_limit",
        /// `payment_header_bytes`: 400.
        PaymentHeaderBytes => "payment_header_bytes",
        /// `request_body_bytes`: 413.
        RequestBodyBytes => "request_body_bytes",
        /// `requests_in_flight`: 503.
        RequestsInFlight => "requests_in_flight",
        /// A facilitator's `calls_in_flight`: 503.
        CallsInFlight => "calls_in_flight",
    }
}

labels! {
    /// What is counted for a limit.
    pub enum Counted {
        /// Clients and payers whose rate has not recovered.
        Rate => "rate",
        /// Clients whose free allowance runs.
        Allowance => "allowance",
    }
}

labels! {
    /// A route's settle mode.
    pub enum Mode {
        /// After the upstream's head, if it is a success.
        OnSuccess => "on-success",
        /// Before the request is forwarded.
        Before => "before",
        /// While the request is forwarded.
        Overlap => "overlap",
    }
}

labels! {
    /// What became of a call to settle.
    pub enum SettlementOutcome {
        /// The money moved.
        Settled => "settled",
        /// It certainly did not.
        Refused => "refused",
        /// Nobody knows.
        Unknown => "unknown",
        /// No facilitator could be reached: nothing was asked.
        NotSent => "not_sent",
    }
}

labels! {
    /// What opened a window.
    pub enum WindowHit {
        /// A pass.
        Pass => "pass",
        /// The payment itself, sent again.
        Payment => "payment",
        /// A settled payment that had not been delivered.
        Redelivery => "redelivery",
    }
}

labels! {
    /// What a facilitator was asked for.
    pub enum Operation {
        /// `POST /verify`.
        Verify => "verify",
        /// `POST /settle`.
        Settle => "settle",
        /// `GET /supported`.
        Supported => "supported",
    }
}

labels! {
    /// What the ledger was asked for.
    pub enum LedgerOperation {
        /// Taking a payment for one request.
        Reserve => "reserve",
        /// Moving a payment on.
        Advance => "advance",
        /// Looking a payment up.
        Find => "find",
        /// Counting a request against a window.
        CountUse => "count_use",
        /// Looking at a payment that comes again.
        Hold => "hold",
    }
}

labels! {
    /// The states in which a payment's money is neither moved nor certain not to move.
    pub enum UnsettledState {
        /// A facilitator is being asked.
        Settling => "settling",
        /// A facilitator was asked and the outcome is unknown.
        Unknown => "unknown",
    }
}

labels! {
    /// Who was asked what became of an unknown payment.
    pub enum ResolvedBy {
        /// The network's node.
        Chain => "chain",
        /// The facilitator, by the same settlement again.
        Facilitator => "facilitator",
    }
}

labels! {
    /// What came of asking.
    pub enum Resolution {
        /// The money moved.
        Settled => "settled",
        /// It did not, and never will.
        Failed => "failed",
        /// Still nobody knows.
        Unknown => "unknown",
    }
}

labels! {
    /// What came of a reload.
    pub enum Reload {
        /// The new file is in force.
        Applied => "applied",
        /// The file is the one that was in force already.
        Unchanged => "unchanged",
        /// The file has errors; nothing changed.
        Refused => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn sound<L: Label + PartialEq + std::fmt::Debug>() {
        let mut seen = BTreeSet::new();
        for (place, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), place, "{label:?}");
            assert!(seen.insert(label.label()), "{label:?} has another's label");
        }
    }

    #[test]
    fn every_label_has_its_own_value_and_place() {
        sound::<Outcome>();
        sound::<Limit>();
        sound::<Counted>();
        sound::<Mode>();
        sound::<SettlementOutcome>();
        sound::<WindowHit>();
        sound::<Operation>();
        sound::<LedgerOperation>();
        sound::<UnsettledState>();
        sound::<ResolvedBy>();
        sound::<Resolution>();
        sound::<Reload>();
    }
}
