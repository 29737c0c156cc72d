//! A thread that reads, on a connection of its own: no report ever stands in a payment's way.

use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::Outcome;
use super::store::Store;
use crate::ledger::LedgerError;

/// Reads that wait for the thread; beyond, callers wait for room.
const QUEUE_MAX: usize = 1024;

/// Answers one question on the connection, or opens it first.
type Question = Box<dyn FnOnce(&mut Option<Connection>) + Send>;

/// The way to a reading thread.
#[derive(Debug)]
pub(super) struct Reader {
    /// `None` only while it is dropped.
    queue: Option<mpsc::Sender<Question>>,
    thread: Option<JoinHandle<()>>,
    store: Store,
}

impl Reader {
    pub(super) fn start(store: Store, name: &str) -> Result<Reader, LedgerError> {
        let mut connection = Some(store.open_reader()?);
        let (queue, mut questions) = mpsc::channel::<Question>(QUEUE_MAX);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                while let Some(question) = questions.blocking_recv() {
                    question(&mut connection);
                }
            })
            .map_err(|error| store.unavailable(&format!("no thread for it: {error}")))?;
        Ok(Reader { queue: Some(queue), thread: Some(thread), store })
    }

    /// Reads; sees every write that has returned.
    pub(super) async fn read<T, F>(&self, query: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let store = self.store.clone();
        self.ask(Box::new(move |connection| {
            if !reply.is_closed() {
                let _ = reply.send(answer_on(connection, &store, query));
            }
        }))
        .await?;
        answer.await.map_err(|_| self.closed())?
    }

    /// Reads something for which nobody waits, if there is room in the queue; trouble with it is the next reader's to report.
    pub(super) fn read_soon(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static) {
        let store = self.store.clone();
        let question: Question = Box::new(move |connection| {
            if let Err(error) = answer_on(connection, &store, |open| read(open).map(Ok)) {
                tracing::debug!(%error, "the ledger could not be read");
            }
        });
        let _ = self.queue.as_ref().map(|queue| queue.try_send(question));
    }

    /// Lets go of the file, until the next read.
    pub(super) async fn rest(&self) -> Result<(), LedgerError> {
        let (reply, done) = oneshot::channel();
        self.ask(Box::new(move |connection| {
            *connection = None;
            let _ = reply.send(());
        }))
        .await?;
        done.await.map_err(|_| self.closed())
    }

    async fn ask(&self, question: Question) -> Result<(), LedgerError> {
        let queue = self.queue.as_ref().ok_or_else(|| self.closed())?;
        queue.send(question).await.map_err(|_| self.closed())
    }

    fn closed(&self) -> LedgerError {
        self.store.unavailable("it is closed")
    }
}

fn answer_on<T>(
    connection: &mut Option<Connection>,
    store: &Store,
    query: impl FnOnce(&Connection) -> Outcome<T>,
) -> Result<T, LedgerError> {
    let open = match connection.take() {
        Some(open) => open,
        None => store.open_reader()?,
    };
    // After a fault the connection stays dropped: the next read opens it again.
    let answer = query(&open).map_err(|error| store.trouble(&error))?;
    *connection = Some(open);
    answer
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
