//! A PostgreSQL server that the tests of this process share, and that ends with it.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};

use super::ports::Port;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/postgres.sh");

/// A server on loopback, with databases for everybody who asks.
pub struct Postgres {
    port: Port,
    folder: PathBuf,
    lines: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    /// Ends when its standard input does.
    _script: Child,
    databases: AtomicU32,
}

impl Postgres {
    /// The one that all tests of this process share.
    pub fn shared() -> &'static Postgres {
        static SHARED: LazyLock<Postgres> = LazyLock::new(Postgres::start);
        &SHARED
    }

    /// One for a test that stops it.
    pub fn start() -> Postgres {
        let port = Port::claim();
        let mut script = Command::new("sh")
            .arg(SCRIPT)
            .arg(port.number.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let input = script.stdin.take().expect("a pipe");
        let mut output = BufReader::new(script.stdout.take().expect("a pipe"));
        let said = line(&mut output);
        let Some(folder) = said.strip_prefix("ready ") else {
            let ended = script.wait_with_output().expect("the script's end");
            panic!("no PostgreSQL server: {}", String::from_utf8_lossy(&ended.stderr));
        };
        Postgres {
            port,
            folder: folder.into(),
            lines: Mutex::new((input, output)),
            _script: script,
            databases: AtomicU32::new(0),
        }
    }

    /// A new database's URL.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run("postgres", &format!("CREATE DATABASE {name}")).await;
        self.url(&name)
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://farebox@localhost:{}/{database}?hostaddr=127.0.0.1", self.port.number)
    }

    /// Runs statements as an operator's shell would.
    pub async fn run(&self, database: &str, sql: &str) {
        self.connect(&self.url(database))
            .await
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// A connection beside the gateway's.
    pub async fn connect(&self, url: &str) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
        tokio::spawn(connection);
        client
    }

    /// What signs for the server.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("server.crt")
    }

    /// Nothing in it moves any more, and nobody is told.
    pub fn pause(&self) {
        self.order("pause");
    }

    pub fn resume(&self) {
        self.order("resume");
    }

    /// `pg_ctl stop`: connections are ended.
    pub fn stop(&self) {
        self.order("stop");
    }

    /// On the same port, with the same data.
    pub fn start_again(&self) {
        self.order("start");
    }

    fn order(&self, command: &str) {
        let mut lines = self.lines.lock().expect("lines");
        writeln!(lines.0, "{command}").expect("the script listens");
        assert_eq!(line(&mut lines.1), "done", "{command}");
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    line.trim_end().to_owned()
}
