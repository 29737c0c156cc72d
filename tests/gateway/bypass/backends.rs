//! Backends of other makes: nginx with files, and a framework.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::support::ports::Port;
use crate::support::{Connection, Request, eventually};

/// What stands in every body that is sold, and in no other.
pub const MARKER: &str = "goods that somebody paid for";

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/bypass/express");

/// nginx with a folder of files, some of which are sold.
pub struct Nginx {
    port: Port,
    folder: TempDir,
    process: Child,
}

impl Nginx {
    pub async fn start() -> Nginx {
        let (port, folder) = (Port::claim(), TempDir::new().expect("a folder"));
        for (file, body) in [
            ("premium/report", MARKER),
            ("premium/index.html", MARKER),
            ("items/7/full", MARKER),
            ("exact", MARKER),
            ("orders", MARKER),
            ("free/page", "free"),
            ("index.html", "free"),
        ] {
            let path = folder.path().join("site").join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, body).expect("a file");
        }
        let (at, number) = (folder.path().display(), port.number);
        let config = format!(
            "daemon off; pid {at}/pid; error_log stderr crit; {user}\n\
             events {{}}\n\
             http {{\n\
               log_format served '$status $request_method $request_filename';\n\
               access_log {at}/access.log served;\n\
               client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;\n\
               uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n\
               server {{\n\
                 listen 127.0.0.1:{number}; root {at}/site; keepalive_requests 100000;\n\
                 location = /orders {{ if ($request_method != GET) {{ return 204; }} }}\n\
                 location / {{ index index.html; }}\n\
               }}\n\
             }}\n",
            // Else its worker is somebody who may not look into the folder.
            user = if is_root() { "user root;" } else { "" },
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).expect("a config");
        // Debian keeps it out of the PATH of users.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let process = Command::new("nginx")
            .env("PATH", path)
            .arg("-p")
            .arg(folder.path())
            .arg("-e")
            .arg("stderr")
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx, of Debian's package: deploy/need nginx");
        let nginx = Nginx { port, folder, process };
        listening(nginx.address()).await;
        nginx
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.number).into()
    }

    /// The files it has served that are sold, by its own log.
    pub fn served(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join("access.log")).expect("a log");
        let site = format!(" {}/site/", self.folder.path().display());
        let sold = |line: &&str| {
            let file = line.split_once(&site).map_or("", |(_, file)| file);
            let file = file.trim_matches('/');
            let sold = file.starts_with("premium") || ["exact", "items/7/full"].contains(&file) || file == "orders";
            sold && (line.starts_with("200") || line.starts_with("206"))
        };
        log.lines().filter(sold).map(str::to_owned).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM, so that it takes its worker with it.
        let _ = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.process.id())).status();
        let _ = self.process.wait();
    }
}

/// A server on the Express framework, which believes in headers that name another URL or method.
pub struct Express {
    port: Port,
    process: Child,
}

impl Express {
    pub async fn start() -> Express {
        let (folder, port) = (installed(), Port::claim());
        let mut process = Command::new("node")
            .arg("server.mjs")
            .arg(port.number.to_string())
            .arg(MARKER)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It would make the standard error of the tests one that does not wait.
            .stderr(Stdio::null())
            .spawn()
            .expect("node");
        let mut ready = String::new();
        BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut ready).expect("a line");
        assert_eq!(ready, "ready\n", "Express has started");
        Express { port, process }
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.number).into()
    }

    /// The requests that it has served what is sold to.
    pub async fn served(&self) -> Vec<String> {
        let response = Connection::open(self.address()).await.exchange(&Request::get("/-/served")).await;
        serde_json::from_slice(&response.body).expect("a list")
    }

    /// Forgets them.
    pub async fn forget(&self) {
        let response = Connection::open(self.address()).await.exchange(&Request::new("DELETE", "/-/served")).await;
        assert_eq!(response.status, 200);
    }
}

impl Drop for Express {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Express, installed from its lock file once for all tests.
fn installed() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bypass-express");
    std::fs::create_dir_all(&folder).expect("a folder");
    let lock = File::create(folder.join("lock")).expect("a file");
    lock.lock().expect("nobody else installs it");
    let sources = Path::new(SOURCES);
    let wanted = std::fs::read(sources.join("package-lock.json")).expect("a lock file");
    let mark = folder.join("installed");
    if std::fs::read(&mark).ok().as_ref() != Some(&wanted) {
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(sources.join(file), folder.join(file)).expect("a copy");
        }
        let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        let installed = Command::new("npm").args(npm).current_dir(&folder).stdin(Stdio::null()).output();
        let installed = installed.expect("npm, which comes with node 20");
        assert!(installed.status.success(), "npm ci: {}", String::from_utf8_lossy(&installed.stderr));
        std::fs::write(mark, wanted).expect("a mark");
    }
    std::fs::copy(sources.join("server.mjs"), folder.join("server.mjs")).expect("a copy");
    folder
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n")
}

async fn listening(address: SocketAddr) {
    eventually("the backend to listen", || async { TcpStream::connect(address).await.ok() }).await;
}
