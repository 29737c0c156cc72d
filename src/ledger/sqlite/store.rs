//! The ledger's file: how it is made, opened and recognised, and what its troubles are called.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::ledger::LedgerError;

/// `FARE`: tells a ledger from any other SQLite file (`PRAGMA application_id`).
const APPLICATION_ID: i32 = 0x4641_5245;

/// What makes version N of the file out of version N - 1 (`PRAGMA user_version`).
const MIGRATIONS: &[&str] = &[
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
];

/// For which a write waits when another process (a backup, a shell) holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that the write-ahead log keeps on disk after a checkpoint.
const WAL_BYTES_KEPT: i64 = 64 << 20;
/// KiB of pages that a connection keeps in memory: the newest era's index, and the ends of the others.
const CACHE_KIB: i64 = 16 << 10;

/// Statements that a connection keeps prepared: all of a payment's life and of its resolution.
const STATEMENTS: usize = 32;

/// How a file is opened.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) busy_timeout: Duration,
    /// How many pages the file may have: a full disk, for tests.
    #[cfg(test)]
    pub(super) pages_max: std::sync::Arc<std::sync::atomic::AtomicU32>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            busy_timeout: BUSY_TIMEOUT,
            #[cfg(test)]
            pages_max: std::sync::Arc::new(u32::MAX.into()),
        }
    }
}

/// Where a ledger is kept.
#[derive(Debug, Clone)]
pub(super) struct Store {
    path: PathBuf,
    options: Options,
    /// Device and inode of the file that was opened first: another one in its place is not this ledger.
    identity: Option<(u64, u64)>,
}

/// Keeps every other gateway away from a ledger's file until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Store {
    /// Resolves links, so that one file has one lock.
    pub(super) fn at(path: &Path, options: Options) -> Result<Store, LedgerError> {
        let resolved = match fs::canonicalize(path) {
            Ok(resolved) => resolved,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let missing = |what: &str| unavailable(path, &format!("{what}: make the folder, or name another path"));
                let name = path.file_name().ok_or_else(|| missing("it names no file"))?;
                let folder = match path.parent() {
                    Some(folder) if !folder.as_os_str().is_empty() => folder,
                    Some(_) | None => Path::new("."),
                };
                fs::canonicalize(folder)
                    .map_err(|error| missing(&format!("its folder cannot be opened ({error})")))?
                    .join(name)
            }
            Err(error) => return Err(unavailable(path, &format!("it cannot be reached: {error}"))),
        };
        Ok(Store { path: resolved, options, identity: None })
    }

    /// Takes the file for this process. SQLite's own locks would let two gateways in, and the second one's
    /// start would release what the first one is serving.
    pub(super) fn lock(&self) -> Result<Lock, LedgerError> {
        self.lock_if_free()?.ok_or_else(|| {
            let text = "another gateway is running on it: stop that one, or give this one a ledger of its own";
            unavailable(&self.path, text)
        })
    }

    /// The same; `None` where another process has it.
    pub(super) fn lock_if_free(&self) -> Result<Option<Lock>, LedgerError> {
        let mut path = self.path.clone().into_os_string();
        path.push(".lock");
        let path = PathBuf::from(path);
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(|error| {
                let lock = path.display();
                unavailable(&self.path, &format!("{lock} cannot be made ({error}): the folder has to be writable"))
            })?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(unavailable(&self.path, &format!("{} cannot be locked: {error}", path.display())))
            }
        }
    }

    /// Makes the file if there is none, readable by its owner alone. Only under the lock: closing a file drops every
    /// POSIX lock that this process has on it, SQLite's included.
    pub(super) fn create(&mut self, _lock: &Lock) -> Result<(), LedgerError> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path) {
            // The name has to outlive a power cut, not only the content.
            Ok(_) => {
                self.path.parent().map_or(Ok(()), |folder| File::open(folder).and_then(|folder| folder.sync_all()))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(|error| unavailable(&self.path, &format!("it cannot be made: {error}")))?;
        let marked = fs::metadata(&self.path).is_ok_and(|metadata| metadata.permissions().readonly());
        if marked {
            // SQLite would only find out at the first payment, and root would write to it all the same.
            return Err(unavailable(&self.path, "it is marked read-only: make it writable for the gateway's user"));
        }
        self.adopt()
    }

    /// Takes the file that is there now for this ledger.
    pub(super) fn adopt(&mut self) -> Result<(), LedgerError> {
        self.identity = self.present()?;
        Ok(())
    }

    /// A connection that writes, to a file of the newest version.
    pub(super) fn open_writer(&self) -> Result<Connection, LedgerError> {
        self.recognise()?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || -> rusqlite::Result<Result<Connection, LedgerError>> {
            let mut connection = Connection::open_with_flags(&self.path, flags)?;
            self.prepare(&connection)?;
            if let Err(foreign) = self.check_version(&connection)? {
                return Ok(Err(foreign));
            }
            let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
            if mode != "wal" {
                let text = "it cannot be kept with a write-ahead log: move it to a local file system";
                return Ok(Err(unavailable(&self.path, text)));
            }
            // A commit is on disk before it is answered.
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |_| Ok(()))?;
            // Else a table that is made anew takes along what refers to it.
            connection.pragma_update(None, "foreign_keys", false)?;
            migrate(&mut connection)?;
            connection.pragma_update(None, "foreign_keys", true)?;
            #[cfg(test)]
            connection.pragma_update_and_check(
                None,
                "max_page_count",
                self.options.pages_max.load(std::sync::atomic::Ordering::SeqCst),
                |_| Ok(()),
            )?;
            Ok(Ok(connection))
        };
        open().map_err(|error| self.trouble(&error))?
    }

    /// A connection of the gateway itself that only reads.
    pub(super) fn open_reader(&self) -> Result<Connection, LedgerError> {
        self.recognise()?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open_with_flags(&self.path, flags)?;
            self.prepare(&connection)?;
            connection.pragma_update(None, "query_only", true)?;
            Ok(connection)
        };
        open().map_err(|error| self.trouble(&error))
    }

    /// A connection of another process, beside a running gateway or without one.
    pub(super) fn open_read_only(&self) -> Result<Connection, LedgerError> {
        if self.present()?.is_none() {
            return Err(unavailable(&self.path, "there is no such file: has a gateway run with this ledger?"));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || -> rusqlite::Result<Result<Connection, LedgerError>> {
            let connection = Connection::open_with_flags(&self.path, flags)?;
            self.prepare(&connection)?;
            let version = match self.check_version(&connection)? {
                Ok(version) => version,
                Err(foreign) => return Ok(Err(foreign)),
            };
            if version < MIGRATIONS.len() {
                let text = "it was made by an older farebox: a start of the gateway brings it up to date";
                return Ok(Err(unavailable(&self.path, text)));
            }
            Ok(Ok(connection))
        };
        open().map_err(|error| self.trouble(&error))?
    }

    fn prepare(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.busy_timeout(self.options.busy_timeout)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "trusted_schema", false)
    }

    /// The file's version, or why it is not a ledger that this program can keep.
    fn check_version(&self, connection: &Connection) -> rusqlite::Result<Result<usize, LedgerError>> {
        let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let things: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let empty = application == 0 && version == 0 && things == 0;
        if !empty && application != APPLICATION_ID {
            let text = "it is a database of another program: name another path";
            return Ok(Err(unavailable(&self.path, text)));
        }
        match usize::try_from(version) {
            Ok(version) if version <= MIGRATIONS.len() => Ok(Ok(version)),
            Ok(_) | Err(_) => Ok(Err(unavailable(
                &self.path,
                &format!("it was made by a newer farebox (version {version} of the file): use that one"),
            ))),
        }
    }

    /// Refuses to go on when the file was moved, deleted or replaced: SQLite would write to the one that nobody
    /// can find any more.
    pub(super) fn recognise(&self) -> Result<(), LedgerError> {
        let present = self.present()?;
        if present.is_none() {
            Err(unavailable(&self.path, "it was moved or deleted while the gateway ran: put it back"))
        } else if present != self.identity {
            Err(unavailable(&self.path, "another file was put in its place while the gateway ran: restart the gateway"))
        } else {
            Ok(())
        }
    }

    /// Device and inode of the file that is there now.
    fn present(&self) -> Result<Option<(u64, u64)>, LedgerError> {
        match fs::metadata(&self.path) {
            Ok(metadata) if !metadata.is_file() => Err(unavailable(&self.path, "it is not a file: name another path")),
            Ok(metadata) => Ok(Some((metadata.dev(), metadata.ino()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unavailable(&self.path, &format!("it cannot be reached: {error}"))),
        }
    }

    /// What a fault of SQLite's means to an operator, and what helps.
    pub(super) fn trouble(&self, error: &rusqlite::Error) -> LedgerError {
        let remedy = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                "it is damaged or not a ledger: keep a copy, then restore a backup or try `sqlite3 FILE .recover`"
            }
            Some(ErrorCode::DiskFull) => "the disk is full: make room; nothing needs a restart",
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
                "it cannot be written to: make the file and its folder writable for the gateway's user"
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "another process holds it: end that process's transaction"
            }
            Some(ErrorCode::CannotOpen) => "it cannot be opened: check that the file and its folder are accessible",
            Some(ErrorCode::SystemIoFailure) => "the disk failed to read or write: look at the system's log",
            Some(_) | None => "SQLite refused",
        };
        unavailable(&self.path, &format!("{remedy} ({error})"))
    }

    /// The same, with the path in front.
    pub(super) fn unavailable(&self, text: &str) -> LedgerError {
        unavailable(&self.path, text)
    }
}

fn unavailable(path: &Path, text: &str) -> LedgerError {
    LedgerError::Unavailable(format!("{}: {text}", path.display()))
}

/// Brings the file up to date; all or nothing, so that a cut leaves a version that is known.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let version: u16 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let version = usize::from(version);
    if version >= MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in MIGRATIONS.iter().skip(version) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX))?;
    transaction.commit()
}
