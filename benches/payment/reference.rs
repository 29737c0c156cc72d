//! The official middleware for Express, whose order the modes are compared with. What it is, and how it is installed, is in
//! `benches/peers`.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Failure;
use super::behind::{Delays, PRICED};
use super::process::{Process, free_address};

/// As its folder is called.
const PEER: &str = "express";

/// The running middleware.
pub struct Reference {
    /// Where it listens.
    pub process: Process,
    /// What it is, with its versions.
    pub name: String,
}

/// Starts it where Farebox stands, in front of a handler that takes as long as the upstream; `None` where there is no
/// node or npm.
pub fn start(folder: &Path, facilitator: SocketAddr, delays: Delays) -> Result<Option<Reference>, Failure> {
    if ["node", "npm"].iter().any(|program| super::tools::find(program).is_none()) {
        eprintln!("without node and npm there is no row of the official middleware");
        return Ok(None);
    }
    let name = install(folder)?;
    let address = free_address()?;
    let variables = [
        ("PORT", address.port().to_string()),
        ("FACILITATOR", format!("http://{facilitator}")),
        ("PATH", PRICED.to_owned()),
        ("PRICE", "$0.01".to_owned()),
        ("PAY_TO", super::gateway::PAY_TO.to_owned()),
        ("DESCRIPTION", super::gateway::DESCRIPTION.to_owned()),
        ("WAIT_MS", delays.upstream.to_string()),
    ];
    let variables = variables.iter().map(|(name, value)| format!("PEER_{name}={value}").into());
    let arguments = [PEER.into()].into_iter().chain(variables);
    let process = Process::start(PEER, &script("start"), arguments, folder, address)?;
    Ok(Some(Reference { process, name }))
}

/// Installs it, the first time, and gives its versions.
fn install(folder: &Path) -> Result<String, Failure> {
    let log = folder.join("install.log");
    let mut install = Command::new(script("install"));
    let output = install.arg(PEER).stdin(Stdio::null()).stderr(File::create(&log)?).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?.trim().to_owned()),
        false => Err(format!("{PEER} cannot be installed:\n{}", std::fs::read_to_string(log)?).into()),
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(name)
}
