//! A PostgreSQL server that flushes the disk, as one that keeps money has to, and ends with this process.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;
use tokio_postgres::NoTls;

use super::Failure;

/// The tests' own.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/postgres.sh");

/// A running server, with databases for everybody who asks.
pub struct Server {
    port: u16,
    /// The script ends the server when this ends.
    input: Option<ChildStdin>,
    script: Child,
}

/// A new folder in that one, for a server's data: the server is another user where this one is root.
pub fn folder(parent: &Path, prefix: &str) -> Result<TempDir, Failure> {
    std::fs::create_dir_all(parent)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).permissions(Permissions::from_mode(0o755));
    Ok(builder.tempdir_in(parent)?)
}

impl Server {
    /// Starts one whose data is in that folder; on a core, if one is named.
    pub fn start(folder: &Path, core: Option<&str>) -> Result<Server, Failure> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut script = Command::new(if core.is_some() { "taskset" } else { "sh" });
        script.args(core.into_iter().flat_map(|core| ["--cpu-list", core, "sh"]));
        let mut script = script
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

    /// A new, empty database of that name (small letters), as a config says where it is.
    pub async fn database(&self, name: &str) -> Result<String, Failure> {
        let (client, connection) = tokio_postgres::connect(&self.url("postgres"), NoTls).await?;
        let connection = tokio::spawn(connection);
        client.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        drop(client);
        connection.await??;
        Ok(self.url(name))
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://farebox@localhost:{}/{database}?hostaddr=127.0.0.1", self.port)
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
