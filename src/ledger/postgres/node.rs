//! This gateway among those that share the ledger: a lease that it renews while it lives.
//!
//! A row names the node that works on its payment. While that node's lease runs, nobody else touches it; when the lease
//! has ended, the next who comes takes over. The database's clock alone judges that. A node that was paused past its
//! lease finds out at its next write: every one that needs the payment says in the same statement whose it has to be.

use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::pool::Pool;
use crate::ledger::LedgerError;

/// How long the others wait for a node that says nothing. Shorter than a request waits for another one's outcome.
const LEASE_SECONDS: f64 = 10.0;
/// How often a lease is renewed, so that several renewals may fail before it ends.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// The same, while the database does not answer.
const RENEW_AGAIN: Duration = Duration::from_millis(250);

const RENEW: &str = "
INSERT INTO farebox_node (id, alive_until) VALUES ($1, clock_timestamp() + $2 * interval '1 second')
ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until
RETURNING clock_timestamp()";

/// One that is not there is as gone as one whose lease has ended.
const FORGET_OLD: &str = "DELETE FROM farebox_node WHERE alive_until < clock_timestamp() - interval '1 day'";

/// This process, as the others see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) id: i64,
}

impl Node {
    /// Joins those that run. Another one at every start: what an earlier run of this gateway left is taken over like
    /// anybody else's.
    pub(super) async fn join(pool: &Pool) -> Result<Node, LedgerError> {
        let node = Node { id: rand::random() };
        node.renew(pool).await?;
        pool.rows(FORGET_OLD, &[]).await?;
        Ok(node)
    }

    /// Says that it lives; proves that the database can be written to, and takes its time from there.
    pub(super) async fn renew(self, pool: &Pool) -> Result<(), LedgerError> {
        let row = pool.row(RENEW, &[&self.id, &LEASE_SECONDS]).await?;
        pool.note_time(pool.get::<SystemTime>(&row, 0)?);
        Ok(())
    }

    /// Renews the lease until the task is aborted.
    pub(super) fn keep_alive(self, pool: Pool) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut in_trouble = false;
            loop {
                tokio::time::sleep(if in_trouble { RENEW_AGAIN } else { RENEW_EVERY }).await;
                match (self.renew(&pool).await, in_trouble) {
                    (Ok(()), false) | (Err(_), true) => {}
                    (Ok(()), true) => {
                        in_trouble = false;
                        info!("the ledger can be written to again");
                    }
                    (Err(error), false) => {
                        in_trouble = true;
                        warn!(%error, "the ledger cannot be written to: priced requests are answered 503 until it can");
                    }
                }
            }
        })
    }

    /// What it held is anybody's from now on.
    pub(super) async fn leave(self, pool: &Pool) -> Result<(), LedgerError> {
        pool.rows("DELETE FROM farebox_node WHERE id = $1", &[&self.id]).await.map(drop)
    }
}
