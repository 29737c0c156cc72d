//! Tells when the config file says something else, or a file that went into the config.
//!
//! Files change in more ways than one: written in place, replaced by an editor's rename, deleted and made again, or
//! swapped beneath a symlink (a Kubernetes ConfigMap is `gateway.toml -> ..data/gateway.toml`, where `..data` is a
//! link to a dated folder that is replaced). So the folder of every link on the way is watched, and the file's own;
//! whatever happens there, the way is walked again and the content's hash decides. Events make it quick; a look now
//! and then makes it sure, where a network file system or a renamed ancestor sends none.

mod chain;

use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use notify::{EventKindMask, RecursiveMode, Watcher as _};
use sha2::{Digest, Sha256};

use super::ReadFile;
use super::source::FILE_BYTES_MAX;
use crate::aside::{NICENESS, step_back};
use chain::Chain;

/// When the file is looked at.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// After the last of several events.
    quiet: Duration,
    /// After the first of several events, if they do not end.
    quiet_max: Duration,
    /// Without any event.
    anyway: Duration,
    /// While the system watches nothing for us.
    unwatched: Duration,
}

const PACE: Pace = Pace {
    quiet: Duration::from_millis(200),
    quiet_max: Duration::from_secs(2),
    anyway: Duration::from_secs(30),
    unwatched: Duration::from_secs(2),
};

/// How often a way that changes underfoot is walked again before the rest is left to the next look.
const WALKS_MAX: u32 = 8;

/// Watches until it is dropped; then its threads have ended.
#[must_use]
pub struct Watcher {
    messages: Option<mpsc::Sender<Message>>,
    thread: Option<JoinHandle<()>>,
}

/// Watches a config's files. The receiver gets one message when the content of one is another than the one before,
/// the first time than what was read; several changes that nobody has received yet are one message. A file that is gone
/// or cannot be read is not a change.
///
/// Fails where no thread can be started, or a path is empty or the current folder is gone.
pub fn watch(files: Vec<ReadFile>) -> io::Result<(Watcher, tokio::sync::mpsc::Receiver<()>)> {
    start(files, PACE, Box::new(notify_of))
}

impl Watcher {
    /// Watches these files from now on. What was seen last of those that it watches already still counts.
    pub fn follow(&self, files: Vec<ReadFile>) {
        if let Some(messages) = &self.messages {
            // Fails only when the looking thread has ended.
            let _ = messages.send(Message::Follow(files));
        }
    }
}

/// Opens the system's watches; what they see goes to the sender.
type Open = Box<dyn Fn(mpsc::Sender<Message>) -> notify::Result<Box<dyn notify::Watcher + Send>> + Send>;

enum Message {
    Seen(notify::Result<notify::Event>),
    Follow(Vec<ReadFile>),
    Stop,
}

/// What a file's content, its name or its folder come with. Not each write to it: a ledger in the same folder is written to
/// all the time. Where the system tells when a writer is done, that is enough; who keeps a file open is found by a look.
const KINDS: EventKindMask = if cfg!(target_os = "linux") {
    EventKindMask::CORE.difference(EventKindMask::MODIFY_DATA).union(EventKindMask::ACCESS_CLOSE)
} else {
    EventKindMask::CORE
};

fn notify_of(messages: mpsc::Sender<Message>) -> notify::Result<Box<dyn notify::Watcher + Send>> {
    let seen = move |event: notify::Result<notify::Event>| {
        // Fails only when the looking thread has ended.
        let _ = messages.send(Message::Seen(event));
    };
    let settings = notify::Config::default().with_event_kinds(KINDS);
    Ok(Box::new(notify::RecommendedWatcher::new(seen, settings)?))
}

fn start(files: Vec<ReadFile>, pace: Pace, open: Open) -> io::Result<(Watcher, tokio::sync::mpsc::Receiver<()>)> {
    let (mut lookout, messages, changes) = Lookout::new(files, pace, open)?;
    // Here and not in the thread: what changes after this call is seen.
    lookout.look();
    let thread = thread::Builder::new().name("config-watch".into()).spawn(move || {
        // It reads files of many megabytes, beside requests.
        step_back(NICENESS);
        while lookout.wait() {
            lookout.look();
        }
        lookout.end();
    })?;
    Ok((Watcher { messages: Some(messages), thread: Some(thread) }, changes))
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(messages) = self.messages.take() {
            let _ = messages.send(Message::Stop);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread that looks.
struct Lookout {
    /// Each with what was seen last.
    files: Vec<ReadFile>,
    pace: Pace,
    changed: tokio::sync::mpsc::Sender<()>,
    open: Open,
    inbox: mpsc::Receiver<Message>,
    outbox: mpsc::Sender<Message>,
    /// `None` while the system refuses to watch.
    system: Option<Box<dyn notify::Watcher + Send>>,
    /// What the system watches.
    chain: Chain,
    /// Whether it watches all of it.
    covered: bool,
}

impl Lookout {
    fn new(
        files: Vec<ReadFile>,
        pace: Pace,
        open: Open,
    ) -> io::Result<(Lookout, mpsc::Sender<Message>, tokio::sync::mpsc::Receiver<()>)> {
        let (messages, inbox) = mpsc::channel();
        let (changed, changes) = tokio::sync::mpsc::channel(1);
        let lookout = Lookout {
            files: absolute(files)?,
            pace,
            changed,
            open,
            inbox,
            outbox: messages.clone(),
            system: None,
            chain: Chain::default(),
            covered: true,
        };
        Ok((lookout, messages, changes))
    }

    /// Waits until it is time for a look; `false` when it is time to stop.
    fn wait(&mut self) -> bool {
        let begun = Instant::now();
        let mut look_at = begun + if self.covered { self.pace.anyway } else { self.pace.unwatched };
        let mut at_the_latest = None;
        loop {
            match self.inbox.recv_timeout(look_at.saturating_duration_since(Instant::now())) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => return true,
                Ok(Message::Follow(files)) => {
                    if self.follow(files) {
                        return true;
                    }
                }
                Ok(Message::Seen(event)) => {
                    if self.concerns_us(&event) {
                        let now = Instant::now();
                        let latest = *at_the_latest.get_or_insert(now + self.pace.quiet_max);
                        look_at = latest.min(now + self.pace.quiet);
                    }
                }
            }
        }
    }

    /// Whether that are others than before.
    fn follow(&mut self, files: Vec<ReadFile>) -> bool {
        // Fails only where the current folder is gone: then the others cannot be found either.
        let Ok(mut files) = absolute(files) else { return false };
        let known = |path: &Path| self.files.iter().find(|file| file.path == path);
        if files.len() == self.files.len() && files.iter().all(|file| known(&file.path).is_some()) {
            return false;
        }
        for file in &mut files {
            if let Some(known) = known(&file.path) {
                file.hash.clone_from(&known.hash);
            }
        }
        self.files = files;
        true
    }

    fn concerns_us(&self, event: &notify::Result<notify::Event>) -> bool {
        match event {
            Ok(event) => event.need_rescan() || event.paths.iter().any(|path| self.chain.holds(path)),
            Err(_) => true,
        }
    }

    /// Watches the ways to the files, then reads them: in this order, so that a change in between makes an event.
    fn look(&mut self) {
        let covered = match self.cover() {
            Ok(()) => true,
            Err(error) => {
                if self.covered {
                    let every = self.pace.unwatched;
                    tracing::warn!(%error, "the system does not watch the config's files; reading them every {every:?}");
                }
                false
            }
        };
        self.covered = covered;
        // A file that cannot be read is not a change: the config in force stays, and a later look finds what comes.
        let mut changed = false;
        for file in &mut self.files {
            if let Ok(hash) = hash_of(&file.path)
                && hash != file.hash
            {
                file.hash = hash;
                changed = true;
            }
        }
        if changed {
            // Full: the change before this one has not been received yet, and is this one now.
            let _ = self.changed.try_send(());
        }
    }

    fn cover(&mut self) -> notify::Result<()> {
        let mut system = match self.system.take() {
            Some(system) => system,
            None => (self.open)(self.outbox.clone())?,
        };
        // Always all anew: a folder's name may stand for another folder now, whose watch would see nothing.
        for folder in self.chain.folders() {
            let _ = system.unwatch(folder);
        }
        let paths = || self.files.iter().map(|file| &*file.path);
        self.chain = Chain::walk(paths());
        let mut outcome = Ok(());
        for _ in 0..WALKS_MAX {
            outcome = self.chain.folders().try_for_each(|folder| system.watch(folder, RecursiveMode::NonRecursive));
            // Links may have been swapped before their folders were watched.
            let again = Chain::walk(paths());
            if again == self.chain {
                break;
            }
            for folder in self.chain.folders() {
                let _ = system.unwatch(folder);
            }
            self.chain = again;
        }
        self.system = Some(system);
        outcome
    }

    /// Ends when the system's watching thread has, too: it holds the last sender.
    fn end(self) {
        let Lookout { inbox, outbox, system, .. } = self;
        drop(outbox);
        drop(system);
        while inbox.recv().is_ok() {}
    }
}

fn absolute(mut files: Vec<ReadFile>) -> io::Result<Vec<ReadFile>> {
    for file in &mut files {
        file.path = std::path::absolute(&file.path)?;
    }
    Ok(files)
}

/// The first 16 hex digits of the content's SHA-256, as [`super::Config::hash`] has it.
pub(super) fn hash_of(path: &Path) -> io::Result<String> {
    // Anything but a file could block for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    // More is read of no file.
    let mut file = fs::File::open(path)?.take(FILE_BYTES_MAX);
    let mut hash = Sha256::new();
    let mut buffer = [0; 8192];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => hash.update(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
