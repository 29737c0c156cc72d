//! How often somebody may: rates, and requests that are free.
//!
//! Counted in this process, exactly and in bounded memory ([`table`]); nothing is asked and nothing is written. What
//! outlives a reload is what was counted, for it is kept by the route's name. Several gateways count each for itself,
//! and a restart forgets.
//!
//! Neither governor nor pingora-limits does it: the one keeps every address until somebody sweeps, the other guesses by
//! a sketch in which strangers' requests add up, and a free request that was guessed is a ride or a refusal for
//! nothing.

mod subject;
mod table;

use std::time::{Duration, Instant};

pub use self::subject::{ClientNet, Scope, Subject};
use self::table::{Table, WhenFull};
use crate::config::{Allowance, Rate};

/// Buckets of a table.
const BUCKETS: usize = 32 * 1024;
/// Subjects that are remembered at once, of rates and of allowances each: 24 bytes each, 24 MiB.
pub const ENTRIES_MAX: usize = BUCKETS * table::WAYS;

/// Everything that is counted.
pub struct Limits {
    rates: Table,
    allowances: Table,
    started: Instant,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new(BUCKETS)
    }
}

impl Limits {
    fn new(buckets: usize) -> Limits {
        Limits {
            // Who is nearest to having recovered gives way to a newcomer: it loses least.
            rates: Table::new(buckets, WhenFull::ForgetTheNearest),
            // Nobody is given a second allowance: a newcomer pays.
            allowances: Table::new(buckets, WhenFull::TurnAway),
            started: Instant::now(),
        }
    }

    /// The time by which all is counted: since the start, whatever the machine's clock is set to.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Counts one against a rate; `Err` says how long it is until the next one may come, and counts nothing.
    ///
    /// This is the generic cell rate algorithm (ITU-T I.371): all of the rate's count may come at once, and then one in
    /// each of its shares of the time.
    pub fn count(&self, scope: Scope<'_>, subject: Subject<'_>, rate: Rate, now: Duration) -> Result<(), Duration> {
        let now = micros(now);
        let share = micros(rate.per).checked_div(u64::from(rate.count)).unwrap_or_default().max(1);
        let all = share.saturating_mul(u64::from(rate.count));
        let counted = self.rates.with((scope, subject), now, |entry| {
            let recovered_at = entry.until.max(now).saturating_add(share);
            let ahead = recovered_at.saturating_sub(now);
            if ahead > all {
                return Err(Duration::from_micros(ahead.saturating_sub(all)));
            }
            entry.until = recovered_at;
            Ok(())
        });
        // There is room for everybody.
        counted.unwrap_or(Ok(()))
    }

    /// Takes one of a client's free uses of a route; `false` when none is left, or nobody could remember it.
    pub fn take_free(&self, route: &str, client: ClientNet, allowance: Allowance, now: Duration) -> bool {
        let now = micros(now);
        let taken = self.allowances.with((Scope::Route(route), Subject::Client(client)), now, |entry| {
            if entry.until <= now {
                entry.until = now.saturating_add(micros(allowance.per));
                entry.spent = 0;
            }
            let left = entry.spent < allowance.uses;
            entry.spent = entry.spent.saturating_add(u32::from(left));
            left
        });
        taken.unwrap_or(false)
    }

    /// Subjects whose rate has not recovered, and clients whose allowance runs: at most [`ENTRIES_MAX`] each.
    pub fn entries(&self, now: Duration) -> (usize, usize) {
        (self.rates.entries(micros(now)), self.allowances.entries(micros(now)))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
