//! Farebox as it is measured: the sandbox as its facilitator, a free and a priced route after as many others as a row says.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Failure;
use super::process::{Process, SERVER_CORE, free_address};
use super::rows::{FREE, PRICED};

/// One config.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Routes, half of them priced.
    pub routes: usize,
    /// What the priced ones cost.
    pub price: &'static str,
    /// Worker threads.
    pub threads: usize,
    /// The operator's listener.
    pub admin: Option<SocketAddr>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it forwards to.
    pub origin: SocketAddr,
}

impl Settings {
    /// One thread, no operator.
    pub fn of(routes: usize, origin: SocketAddr) -> Result<Settings, Failure> {
        Ok(Settings { routes, price: "$0.01", threads: 1, admin: None, address: free_address()?, origin })
    }

    /// Starts it on its core.
    pub fn start(&self, binary: &Path, folder: &Path) -> Result<Process, Failure> {
        self.start_on(SERVER_CORE, binary, folder)
    }

    /// The same, on others.
    pub fn start_on(&self, cores: &str, binary: &Path, folder: &Path) -> Result<Process, Failure> {
        self.write(folder)?;
        self.start_written(cores, binary, folder)
    }

    /// Writes the config.
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        Ok(fs::write(self.file(folder), self.text()?)?)
    }

    /// Starts it by the config that has been written.
    pub fn start_written(&self, cores: &str, binary: &Path, folder: &Path) -> Result<Process, Failure> {
        let arguments = ["run".into(), self.file(folder).into_os_string()];
        Process::start_on(cores, &self.name(), binary, arguments, folder, self.address)
    }

    /// The config's file.
    pub fn file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.toml", self.name()))
    }

    fn name(&self) -> String {
        format!("farebox-{}", self.address.port())
    }

    /// The config. Windows and idle connections outlast any run.
    pub fn text(&self) -> Result<String, Failure> {
        let Settings { address, threads, origin, price, .. } = self;
        let admin = self.admin.map_or_else(|| "off".to_owned(), |admin| admin.to_string());
        let mut text = format!(
            r#"[server]
listen = ["{address}"]
public_url = "https://api.example.com"
threads = {threads}
idle_timeout = "1h"
header_timeout = "1h"

[admin]
listen = "{admin}"

[log]
access = false

[ledger]
url = "memory:"

[facilitators.sandbox]
url = "sandbox:"

[pay.usdc]
network = "base-sepolia"
asset = "USDC"
pay_to = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"
facilitators = ["sandbox"]

[upstreams.origin]
servers = ["{origin}"]
"#
        );
        for n in 1..self.routes / 2 {
            write!(
                text,
                "[[route]]\npath = \"/paid-{n}/*\"\nprice = \"{price}\"\nwindow = \"24h\"\n\
                 [[route]]\npath = \"/free-{n}/*\"\nprice = \"free\"\n"
            )?;
        }
        write!(
            text,
            "[[route]]\npath = \"{FREE}\"\nprice = \"free\"\n\
             [[route]]\npath = \"{PRICED}\"\nprice = \"{price}\"\nwindow = \"24h\"\n\
             description = \"Premium market data\"\nmime_type = \"application/json\"\n"
        )?;
        Ok(text)
    }
}
