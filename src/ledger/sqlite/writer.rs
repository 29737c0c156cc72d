//! The one thread that writes: whatever is queued goes into one transaction, so that many payments share one
//! flush of the disk. An answer is given only after the commit that it depends on.

use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::Outcome;
use super::store::{Lock, Store};
use crate::ledger::LedgerError;

/// Writes that wait for the thread; beyond, callers wait for room.
pub(super) const QUEUE_MAX: usize = 1024;
/// Writes that share one commit.
pub(super) const BATCH_MAX: usize = 256;

/// The way to the writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` only while it is dropped.
    queue: Option<mpsc::Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    store: Store,
}

enum Message {
    Write(Box<dyn Write>),
    Close(Closing),
}

/// Who waits for the file to be let go of.
type Closing = oneshot::Sender<Result<(), LedgerError>>;

/// One write on its way: carried out, perhaps again after a rollback, then answered once.
trait Write: Send {
    fn carry_out(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// After the commit.
    fn answer(self: Box<Self>);
    /// Instead of it.
    fn fail(self: Box<Self>, trouble: &str);
}

struct Pending<T, F> {
    operation: F,
    outcome: Option<Result<T, LedgerError>>,
    reply: oneshot::Sender<Result<T, LedgerError>>,
}

impl<T: Send, F: FnMut(&Connection) -> Outcome<T> + Send> Write for Pending<T, F> {
    fn carry_out(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.outcome = Some((self.operation)(connection)?);
        Ok(())
    }

    fn answer(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // A caller that stopped waiting finds the outcome in the ledger.
            let _ = self.reply.send(outcome);
        }
    }

    fn fail(self: Box<Self>, trouble: &str) {
        let _ = self.reply.send(Err(LedgerError::Unavailable(trouble.to_owned())));
    }
}

/// Why a transaction did not happen.
enum Failure {
    /// Nothing can be written just now.
    Store(LedgerError),
    /// One of its writes failed; others may fare better alone.
    Write(LedgerError),
}

impl Writer {
    pub(super) fn start(store: Store, connection: Connection, lock: Option<Lock>) -> Result<Writer, LedgerError> {
        let (queue, messages) = mpsc::channel(QUEUE_MAX);
        let mut thread = Thread { store: store.clone(), connection: Some(connection), messages };
        let thread = std::thread::Builder::new()
            .name("ledger-writer".into())
            .spawn(move || thread.run(lock))
            .map_err(|error| store.unavailable(&format!("no thread for it: {error}")))?;
        Ok(Writer { queue: Some(queue), thread: Some(thread), store })
    }

    /// Carries out a write; durable when it returns. The operation runs again if others of its batch broke it.
    pub(super) async fn write<T, F>(&self, operation: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Outcome<T> + Send + 'static,
    {
        let (reply, outcome) = oneshot::channel();
        let write = Box::new(Pending { operation, outcome: None, reply });
        let closed = || self.store.unavailable("it is closed");
        let queue = self.queue.as_ref().ok_or_else(closed)?;
        queue.send(Message::Write(write)).await.map_err(|_| closed())?;
        outcome.await.map_err(|_| closed())?
    }

    /// Writes what is queued, moves everything into the main file and lets go of it. Again: does nothing.
    pub(super) async fn close(&self) -> Result<(), LedgerError> {
        let (reply, done) = oneshot::channel();
        let Some(queue) = &self.queue else { return Ok(()) };
        if queue.send(Message::Close(reply)).await.is_err() {
            return Ok(());
        }
        done.await.unwrap_or(Ok(()))
    }
}

impl Drop for Writer {
    /// What was queued is written, and the file is free when this returns.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread's was reported when it happened.
            let _ = thread.join();
        }
    }
}

struct Thread {
    store: Store,
    /// `None` after trouble, until it can be opened again.
    connection: Option<Connection>,
    messages: mpsc::Receiver<Message>,
}

impl Thread {
    fn run(&mut self, lock: Option<Lock>) {
        while let Some(first) = self.messages.blocking_recv() {
            let (batch, closing) = self.gather(first);
            self.write(batch);
            if let Some(reply) = closing {
                let flushed = self.finish();
                drop(lock);
                self.refuse_rest();
                let _ = reply.send(flushed);
                return;
            }
        }
    }

    /// Everything that is queued behind the first message, up to a batch or a close.
    fn gather(&mut self, first: Message) -> (Vec<Box<dyn Write>>, Option<Closing>) {
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next.take() {
            match message {
                Message::Write(write) => batch.push(write),
                Message::Close(reply) => return (batch, Some(reply)),
            }
            if batch.len() < BATCH_MAX {
                next = self.messages.try_recv().ok();
            }
        }
        (batch, None)
    }

    fn write(&mut self, mut batch: Vec<Box<dyn Write>>) {
        match self.transact(&mut batch) {
            Ok(()) => batch.into_iter().for_each(|write| write.answer()),
            // One by one: only those whose fault it is fail.
            Err(Failure::Write(_)) if batch.len() > 1 => self.write_singly(batch),
            Err(Failure::Write(error) | Failure::Store(error)) => fail_all(batch, &error),
        }
    }

    fn write_singly(&mut self, batch: Vec<Box<dyn Write>>) {
        let mut rest = batch.into_iter();
        while let Some(mut write) = rest.next() {
            match self.transact(std::slice::from_mut(&mut write)) {
                Ok(()) => write.answer(),
                Err(Failure::Write(error)) => fail_all([write], &error),
                // Each further attempt could wait for the busy timeout again.
                Err(Failure::Store(error)) => return fail_all(std::iter::once(write).chain(rest), &error),
            }
        }
    }

    /// All of the batch in one transaction. After a failure nothing of it has happened, and the connection, whose
    /// state is in doubt, is replaced by the next call.
    fn transact(&mut self, batch: &mut [Box<dyn Write>]) -> Result<(), Failure> {
        if batch.is_empty() {
            return Ok(());
        }
        self.store.recognise().map_err(Failure::Store)?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.store.open_writer().map_err(Failure::Store)?,
        };
        commit_together(&mut connection, batch).map_err(|failure| match failure {
            Broken::Transaction(error) => Failure::Store(self.store.trouble(&error)),
            Broken::Write(error) => Failure::Write(self.store.trouble(&error)),
        })?;
        self.connection = Some(connection);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), LedgerError> {
        let Some(connection) = self.connection.take() else { return Ok(()) };
        // What a reader elsewhere keeps from being moved stays in the log, where it is as durable.
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .and_then(|()| connection.close().map_err(|(_, error)| error))
            .map_err(|error| self.store.trouble(&error))
    }

    fn refuse_rest(&mut self) {
        self.messages.close();
        while let Some(message) = self.messages.blocking_recv() {
            match message {
                Message::Write(write) => write.fail(&self.store.unavailable("it is closed").to_string()),
                Message::Close(reply) => {
                    let _ = reply.send(Ok(()));
                }
            }
        }
    }
}

enum Broken {
    Transaction(rusqlite::Error),
    Write(rusqlite::Error),
}

fn commit_together(connection: &mut Connection, batch: &mut [Box<dyn Write>]) -> Result<(), Broken> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Broken::Transaction)?;
    for write in batch {
        write.carry_out(&transaction).map_err(Broken::Write)?;
    }
    transaction.commit().map_err(Broken::Transaction)
}

fn fail_all(batch: impl IntoIterator<Item = Box<dyn Write>>, error: &LedgerError) {
    let LedgerError::Unavailable(trouble) = error else { return };
    batch.into_iter().for_each(|write| write.fail(trouble));
}
