//! A PostgreSQL server that flushes the disk, as one that keeps money has to, and ends with this process.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use farebox::config::{LedgerUrl, PostgresUrl};

use super::Failure;

/// The tests' own.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/postgres.sh");

/// A running server with an empty database.
pub struct Server {
    port: u16,
    /// The script ends the server when this ends.
    input: Option<ChildStdin>,
    script: Child,
}

impl Server {
    /// Starts one whose data is in that folder.
    pub fn start(folder: &Path) -> Result<Server, Failure> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut script = Command::new("sh")
            .args([SCRIPT, &port.to_string(), "on"])
            .env("TMPDIR", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = script.stdin.take();
        let output = script.stdout.take().ok_or("the script has no output")?;
        let server = Server { port, input, script };
        let mut said = String::new();
        BufReader::new(output).read_line(&mut said)?;
        if said.starts_with("ready ") { Ok(server) } else { Err("PostgreSQL does not run: see above".into()) }
    }

    /// Where its database is.
    pub fn url(&self) -> Result<PostgresUrl, Failure> {
        let text = format!("postgres://farebox@localhost:{}/postgres?hostaddr=127.0.0.1", self.port);
        match LedgerUrl::parse(&text, Path::new("/")) {
            Ok(LedgerUrl::Postgres(url)) => Ok(*url),
            Ok(other) => Err(format!("not a database's URL: {other:?}").into()),
            Err((wrong, _)) => Err(wrong.into()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        if let Err(error) = self.script.wait() {
            eprintln!("a PostgreSQL server on port {} may still run: {error}", self.port);
        }
    }
}
