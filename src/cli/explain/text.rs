//! An explanation as people read it: one fact a line.

use std::fmt;
use std::time::Duration;

use super::{
    Explanation, FreeRequests, OpenWindow, Outcome, PathStep, Price, PricedOffer, RequestLimit, RouteName, RunnerUp,
    UpstreamName,
};
use crate::config;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, label: &str, text: &dyn fmt::Display| writeln!(f, "{label:<10} {text}");
        let host = self.host.as_deref().unwrap_or("any host");
        line(f, "request", &format_args!("{} {} on {host}", self.method, self.target))?;
        if let Some(canonical) = &self.canonical {
            line(f, "canonical", canonical)?;
        }
        for PathStep { step, path } in &self.steps {
            line(f, "", &format_args!("{step}: {path}"))?;
        }
        match &self.outcome {
            Outcome::Refused { status, reason, detail } => {
                line(f, "refused", &format_args!("{status} {reason}: {detail}"))?;
            }
            Outcome::Denied => line(f, "no route", &"404: unmatched = \"deny\"")?,
            Outcome::Unmatched { upstream } => {
                line(f, "no route", &"forwarded free of charge: unmatched = \"free\"")?;
                line(f, "upstream", upstream)?;
            }
            Outcome::Answered { route, limit, price, upstream } => {
                line(f, "route", route)?;
                if let Some(limit) = limit {
                    line(f, "limit", limit)?;
                }
                match price {
                    Price::Free => line(f, "price", &"free")?,
                    Price::Priced { offers, settle, verify, window, free } => {
                        for (at, offer) in offers.iter().enumerate() {
                            line(f, if at == 0 { "price" } else { "or" }, offer)?;
                        }
                        match verify {
                            Some("local") => line(f, "settle", &format_args!("{settle}, verified locally"))?,
                            Some(verifier) => line(f, "settle", &format_args!("{settle}, verified by the {verifier}"))?,
                            None => line(f, "settle", settle)?,
                        }
                        match window {
                            Some(window) => line(f, "window", window)?,
                            None => line(f, "window", &"none: one payment, one request")?,
                        }
                        if let Some(free) = free {
                            line(f, "free", free)?;
                        }
                    }
                }
                line(f, "upstream", upstream)?;
                if self.runners_up.is_empty() {
                    line(f, "because", &"no other route matches")?;
                }
            }
        }
        for RunnerUp { route, because } in &self.runners_up {
            line(f, "before", &format_args!("{route}, by {because}"))?;
        }
        for route in &self.on_other_hosts {
            line(f, "elsewhere", &format_args!("{route} matches on its host"))?;
        }
        Ok(())
    }
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name == self.pattern { f.write_str(&self.name) } else { write!(f, "{} ({})", self.name, self.pattern) }
    }
}

impl fmt::Display for UpstreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.servers.join(", "))
    }
}

impl fmt::Display for PricedOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PricedOffer { way, units, symbol, amount, network, pay_to, .. } = self;
        write!(f, "{units} {symbol} on {} ({amount} atomic units) to {pay_to}, by {way}", network.alias())
    }
}

impl fmt::Display for RequestLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestLimit { rate, by } = self;
        match *by {
            "payer" => write!(f, "{rate} for each payer; for each client address until it is known who pays"),
            _ => write!(f, "{rate} for each client address"),
        }
    }
}

impl fmt::Display for FreeRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = if self.uses == 1 { "request" } else { "requests" };
        let per = config::duration_text(Duration::from_millis(self.milliseconds));
        write!(f, "{} {requests} in {per} for each client address", self.uses)
    }
}

impl fmt::Display for OpenWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_millis(self.milliseconds))?;
        match self.uses {
            Some(1) => f.write_str(", 1 request"),
            Some(uses) => write!(f, ", {uses} requests"),
            None => f.write_str(", any number of requests"),
        }
    }
}
