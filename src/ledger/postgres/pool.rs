//! Connections to the database: few, each statement within a bound, none used again after trouble.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use deadpool_postgres::{ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, RecyclingMethod, Runtime};
use futures::TryStreamExt as _;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::tls;
use super::trouble::Place;
use crate::config::PostgresUrl;
use crate::ledger::LedgerError;

/// How long an operation may take, its wait for a connection included. After that it does not happen any more: see
/// [`Pool::deadline`].
pub(super) const LIMIT: Duration = Duration::from_millis(2500);
/// Connections for payments. Each is used by one statement at a time, and a statement takes a few milliseconds.
const CONNECTIONS_MAX: usize = 16;
/// How long one of several hosts is tried, so that there is time for the next.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// A connection to a host that is gone without a word is given up after so long.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The server gives up first, so that a slow statement is known not to have happened. What was answered is on its disk,
/// also where the server's default is otherwise.
const PREPARE: &str = "
SET statement_timeout = 2000;
SET idle_in_transaction_session_timeout = 10000;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The connections of one gateway.
#[derive(Clone)]
pub(super) struct Pool {
    pool: deadpool_postgres::Pool,
    clock: Arc<Clock>,
    pub(super) place: Place,
}

/// The database's clock as this process knows it: never ahead of it.
#[derive(Default)]
struct Clock(Mutex<Option<(Instant, SystemTime)>>);

/// A connection that goes back to the pool only when it has done its work: what is still under way on it may come to
/// an end long after nobody waits for it.
struct Turn(Option<Object>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

impl Pool {
    /// Connects to nothing yet.
    pub(super) fn new(url: &PostgresUrl) -> Result<Pool, LedgerError> {
        let place = Place(url.to_string().into());
        let mut connection = url.connection.clone();
        connection.tcp_user_timeout(SILENCE_MAX).keepalives_idle(SILENCE_MAX);
        if connection.get_connect_timeout().is_none() {
            connection.connect_timeout(CONNECT_LIMIT);
        }
        if connection.get_application_name().is_none() {
            connection.application_name("farebox");
        }
        let tls = tls::connector(&url.trust).map_err(|error| place.unavailable(&error))?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = deadpool_postgres::Pool::builder(Manager::from_config(connection, tls, recycling))
            .max_size(CONNECTIONS_MAX)
            .runtime(Runtime::Tokio1)
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move { client.batch_execute(PREPARE).await.map_err(HookError::Backend) })
            }))
            .build()
            .map_err(|error| place.unavailable(&error.to_string()))?;
        Ok(Pool { pool, clock: Arc::default(), place })
    }

    /// Carries out one statement.
    pub(super) async fn rows(&self, sql: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, LedgerError> {
        self.within(async {
            let mut turn = Turn(Some(self.lend().await?));
            let Some(client) = &turn.0 else { return Ok(Vec::new()) };
            let statement = client.prepare_cached(sql).await.map_err(|error| self.place.trouble(&error))?;
            let rows = client.query(&statement, parameters).await.map_err(|error| self.place.trouble(&error))?;
            drop(turn.0.take());
            Ok(rows)
        })
        .await
    }

    /// Carries out one statement that answers with one row.
    pub(super) async fn row(&self, sql: &str, parameters: Parameters<'_>) -> Result<Row, LedgerError> {
        let rows = self.rows(sql, parameters).await?;
        rows.into_iter().next().ok_or_else(|| self.place.unavailable("it answered with nothing"))
    }

    /// Carries out one write; see [`Pool::done`].
    pub(super) async fn write(&self, sql: &str, parameters: Parameters<'_>) -> Result<bool, LedgerError> {
        self.done(&self.row(sql, parameters).await?)
    }

    /// Whether a write happened, which its first column says; an error where it was asked too late, as its second one
    /// says.
    pub(super) fn done(&self, row: &Row) -> Result<bool, LedgerError> {
        let happened: bool = self.get(row, 0)?;
        if happened || self.get::<bool>(row, 1)? {
            return Ok(happened);
        }
        Err(self.place.unavailable("the statement came to it too late to be carried out"))
    }

    /// Hands over the rows of a report as they come, for however long that takes.
    pub(super) async fn each_row(
        &self,
        sql: &str,
        parameters: Parameters<'_>,
        mut hand: impl FnMut(Row) -> Result<ControlFlow<()>, LedgerError>,
    ) -> Result<(), LedgerError> {
        let trouble = |error| self.place.trouble(&error);
        let mut turn = Turn(Some(self.within(self.lend()).await?));
        let Some(client) = &turn.0 else { return Ok(()) };
        let patient = "BEGIN READ ONLY; SET LOCAL statement_timeout = 0";
        self.within(async { client.batch_execute(patient).await.map_err(trouble) }).await?;
        let rows = client.query_raw(sql, parameters.iter().copied()).await;
        let mut rows = std::pin::pin!(rows.map_err(trouble)?);
        while let Some(row) = rows.try_next().await.map_err(trouble)? {
            if hand(row)?.is_break() {
                return Ok(());
            }
        }
        self.within(async { client.batch_execute("COMMIT").await.map_err(trouble) }).await?;
        drop(turn.0.take());
        Ok(())
    }

    /// A connection for what takes longer than a statement of a payment; it ends with this value.
    pub(super) async fn apart(&self) -> Result<ClientWrapper, LedgerError> {
        self.within(async {
            let client = Object::take(self.lend().await?);
            client.batch_execute("SET statement_timeout = 0").await.map_err(|error| self.place.trouble(&error))?;
            Ok(client)
        })
        .await
    }

    /// Until when, by the database's clock, a write may be carried out whose caller starts to wait now. A statement can
    /// reach a server that stood still, or come out of a network that was cut, long after its caller was told that it
    /// failed and has done something else: then it must not happen any more. Every write compares.
    pub(super) fn deadline(&self) -> SystemTime {
        let clock = self.clock.0.lock().unwrap_or_else(PoisonError::into_inner);
        clock
            .and_then(|(at, time)| time.checked_add(at.elapsed())?.checked_add(LIMIT))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Notes what the database's clock said in an answer that has just come.
    pub(super) fn note_time(&self, time: SystemTime) {
        *self.clock.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), time));
    }

    pub(super) fn get<'a, T: tokio_postgres::types::FromSql<'a>>(
        &self,
        row: &'a Row,
        column: usize,
    ) -> Result<T, LedgerError> {
        row.try_get(column).map_err(|error| self.place.trouble(&error))
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }

    async fn lend(&self) -> Result<Object, LedgerError> {
        self.pool.get().await.map_err(|error| self.place.pool_trouble(error))
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
        match tokio::time::timeout(LIMIT, work).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Err(self.place.unavailable(&format!("no answer within {LIMIT:?}: look at its load and the network")))
            }
        }
    }
}
