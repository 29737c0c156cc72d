//! The other ways to ask for a payment today: each a server of its own, with the settings of production, on one thread.
//!
//! They ask for the same price of the same resource. What they are, and how they are started, is in `benches/peers`.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Failure;
use super::gateway::{DESCRIPTION, PAY_TO, PRICE};
use super::origin::{CONNECTIONS, nginx};
use super::process::{Process, free_address, other_core};
use super::rows::PRICED;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The official middleware for Express.
    Express,
    /// Its predecessor, which speaks x402 v1.
    ExpressV1,
    /// The official middleware for FastAPI, under uvicorn.
    FastApi,
    /// x402-rs's middleware for axum.
    Axum,
    /// pay-gate, a gateway.
    PayGate,
}

/// What a peer needs around it.
pub struct Surroundings<'a> {
    /// For what it writes.
    pub folder: &'a Path,
    /// Where a gateway forwards to.
    pub origin: SocketAddr,
    /// Whom a middleware asks, once, which payments there are.
    pub facilitator: SocketAddr,
}

impl Peer {
    /// As its folder is called.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Express => "express",
            Peer::ExpressV1 => "express-v1",
            Peer::FastApi => "fastapi",
            Peer::Axum => "axum",
            Peer::PayGate => "pay-gate",
        }
    }

    /// Installs it, the first time, and gives its versions.
    pub fn install(self) -> Result<String, Failure> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers");
        fs::create_dir_all(&folder)?;
        let log = folder.join(format!("{}.log", self.name()));
        eprintln!("{}, if it is not there yet, is installed now: see {}", self.name(), log.display());
        let mut install = Command::new(script("install"));
        install.arg(self.name()).stdin(Stdio::null()).stderr(File::create(&log)?);
        let output = install.output()?;
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout)?.trim().to_owned()),
            false => Err(format!("it cannot be installed: see {}", log.display()).into()),
        }
    }

    /// Starts it, with so many characters added to the resource's description.
    pub fn start(self, around: &Surroundings, added: usize) -> Result<Process, Failure> {
        let address = free_address()?;
        let variables = [
            ("PORT", address.port().to_string()),
            ("FACILITATOR", format!("http://{}", around.facilitator)),
            ("ORIGIN", around.origin.to_string()),
            ("FOLDER", around.folder.display().to_string()),
            ("PATH", PRICED.to_owned()),
            ("PRICE", PRICE.to_owned()),
            ("PAY_TO", PAY_TO.to_owned()),
            ("DESCRIPTION", DESCRIPTION.to_owned() + &".".repeat(added)),
        ];
        let variables = variables.iter().map(|(name, value)| format!("PEER_{name}={value}").into());
        let arguments = [self.name().into()].into_iter().chain(variables);
        let name = format!("{}-{}", self.name(), address.port());
        Process::start(&name, &script("start"), arguments, around.folder, address)
    }
}

/// Starts a facilitator that only says which payments it settles; nobody pays the peers here.
pub fn facilitator(folder: &Path) -> Result<Process, Failure> {
    let supported = r#"{"kinds": [
        {"x402Version": 2, "scheme": "exact", "network": "eip155:84532"},
        {"x402Version": 1, "scheme": "exact", "network": "base-sepolia"}
    ], "extensions": [], "signers": {}}"#;
    let server = format!("location = /supported {{ default_type application/json; return 200 '{supported}'; }}");
    nginx(CONNECTIONS, other_core(), &folder.join("facilitator"), "", &server)
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(name)
}
