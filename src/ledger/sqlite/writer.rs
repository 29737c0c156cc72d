//! The one thread that writes: whatever is queued goes into one transaction, so that many payments share one
//! flush of the disk. An answer is given only after the commit that it depends on.
//! Who asks while others are carried out joins them, and all are answered at once.

use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::Outcome;
use super::store::{Lock, Store};
use crate::aside::step_back;
use crate::ledger::LedgerError;

/// Writes that wait for the thread; beyond, callers wait for room.
pub(super) const QUEUE_MAX: usize = 1024;
/// Writes that share one commit.
pub(super) const BATCH_MAX: usize = 256;

/// How far the thread steps back. On a core of its own that changes nothing. On one that it shares with those who ask, it
/// would else interrupt them each time that the disk is done, for a commit of the few writes that were asked for until then;
/// now half as many commits carry as much. It still gets a quarter of a core that others keep busy without a pause.
const NICENESS: i32 = 5;

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
    /// Where its caller waits.
    fn runtime(&self) -> Option<&Handle>;
}

struct Pending<T, F> {
    operation: F,
    outcome: Option<Result<T, LedgerError>>,
    reply: oneshot::Sender<Result<T, LedgerError>>,
    runtime: Option<Handle>,
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

    fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref()
    }
}

/// Writes that are in the file. Answered when this is dropped, wherever that is.
struct Committed(Vec<Box<dyn Write>>);

impl Drop for Committed {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|write| write.answer());
    }
}

/// After the commit. Those who wait on one runtime are answered there, by one task: from this thread, each answer would
/// wake that runtime's thread anew.
fn answer_all(batch: Vec<Box<dyn Write>>) {
    let Some(runtime) = batch.first().and_then(|write| write.runtime().cloned()) else {
        return drop(Committed(batch));
    };
    let (mut there, mut elsewhere) = (Committed(Vec::new()), Committed(Vec::new()));
    for write in batch {
        let is_there = write.runtime().is_some_and(|other| other.id() == runtime.id());
        if is_there { there.0.push(write) } else { elsewhere.0.push(write) }
    }
    // A runtime that has ended drops the task, and with it what has to be answered.
    drop(runtime.spawn(async move { drop(there) }));
    drop(elsewhere);
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
        let asked = Queue { messages, closing: None };
        let mut thread = Thread { store: store.clone(), connection: Some(connection), queue: asked };
        let thread = std::thread::Builder::new()
            .name("ledger-writer".into())
            .spawn(move || {
                step_back(NICENESS);
                thread.run(lock);
            })
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
        let write = Box::new(Pending { operation, outcome: None, reply, runtime: Handle::try_current().ok() });
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
    queue: Queue,
}

/// What is asked of the thread.
struct Queue {
    messages: mpsc::Receiver<Message>,
    /// Asked for behind everything that was taken from the queue; nothing behind it is taken.
    closing: Option<Closing>,
}

impl Queue {
    /// The next writes, if need be after a wait; none where the ledger is closed or dropped.
    fn wait(&mut self) -> Vec<Box<dyn Write>> {
        let mut batch = Vec::new();
        if let Some(first) = self.messages.blocking_recv() {
            self.add(first, &mut batch);
            self.gather(&mut batch, BATCH_MAX);
        }
        batch
    }

    /// Adds everything that is queued, up to so many in all or a close.
    fn gather(&mut self, batch: &mut Vec<Box<dyn Write>>, most: usize) {
        while batch.len() < most && self.closing.is_none() {
            let Ok(message) = self.messages.try_recv() else { return };
            self.add(message, batch);
        }
    }

    fn add(&mut self, message: Message, batch: &mut Vec<Box<dyn Write>>) {
        match message {
            Message::Write(write) => batch.push(write),
            Message::Close(reply) => self.closing = Some(reply),
        }
    }
}

impl Thread {
    fn run(&mut self, lock: Option<Lock>) {
        loop {
            let batch = self.queue.wait();
            let is_over = batch.is_empty();
            self.write(batch);
            if let Some(reply) = self.queue.closing.take() {
                let flushed = self.finish();
                drop(lock);
                self.refuse_rest();
                let _ = reply.send(flushed);
                return;
            }
            if is_over {
                return;
            }
        }
    }

    fn write(&mut self, mut batch: Vec<Box<dyn Write>>) {
        match self.transact(&mut batch, BATCH_MAX) {
            Ok(()) => answer_all(batch),
            // One by one: only those whose fault it is fail.
            Err(Failure::Write(_)) if batch.len() > 1 => self.write_singly(batch),
            Err(Failure::Write(error) | Failure::Store(error)) => fail_all(batch, &error),
        }
    }

    fn write_singly(&mut self, batch: Vec<Box<dyn Write>>) {
        let mut rest = batch.into_iter();
        while let Some(write) = rest.next() {
            let mut alone = vec![write];
            match self.transact(&mut alone, 1) {
                Ok(()) => answer_all(alone),
                Err(Failure::Write(error)) => fail_all(alone, &error),
                // Each further attempt could wait for the busy timeout again.
                Err(Failure::Store(error)) => return fail_all(alone.into_iter().chain(rest), &error),
            }
        }
    }

    /// All of the batch in one transaction, and what others ask for until it is carried out, up to so many writes. After a
    /// failure nothing of it has happened, and the connection, whose state is in doubt, is replaced by the next call.
    fn transact(&mut self, batch: &mut Vec<Box<dyn Write>>, most: usize) -> Result<(), Failure> {
        if batch.is_empty() {
            return Ok(());
        }
        self.store.recognise().map_err(Failure::Store)?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.store.open_writer().map_err(Failure::Store)?,
        };
        let join = |batch: &mut Vec<Box<dyn Write>>| self.queue.gather(batch, most);
        commit_together(&mut connection, batch, join).map_err(|failure| match failure {
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
        self.queue.messages.close();
        while let Some(message) = self.queue.messages.blocking_recv() {
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

/// `join` adds writes to the batch, as long as there are any: none of them waits for a commit of its own.
fn commit_together(
    connection: &mut Connection,
    batch: &mut Vec<Box<dyn Write>>,
    mut join: impl FnMut(&mut Vec<Box<dyn Write>>),
) -> Result<(), Broken> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Broken::Transaction)?;
    let mut carried_out = 0;
    while carried_out < batch.len() {
        for write in batch.iter_mut().skip(carried_out) {
            write.carry_out(&transaction).map_err(Broken::Write)?;
        }
        carried_out = batch.len();
        join(batch);
    }
    transaction.commit().map_err(Broken::Transaction)
}

fn fail_all(batch: impl IntoIterator<Item = Box<dyn Write>>, error: &LedgerError) {
    let LedgerError::Unavailable(trouble) = error else { return };
    batch.into_iter().for_each(|write| write.fail(trouble));
}
