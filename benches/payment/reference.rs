//! The official middleware for Express, whose order the modes are compared with. Its packages are installed by their lock
//! file, once.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Failure;
use super::behind::{Delays, PRICED};
use super::process::{Process, free_address};

/// As `reference/package.json` has it.
pub const VERSION: &str = "2.27.0";

/// The program, and what it needs.
const FILES: &[(&str, &str)] = &[
    ("package.json", include_str!("reference/package.json")),
    (LOCK, include_str!("reference/package-lock.json")),
    ("server.mjs", include_str!("reference/server.mjs")),
];
const LOCK: &str = "package-lock.json";

/// Starts it where Farebox stands, in front of a handler that takes as long as the upstream; `None` where there is no
/// node or npm.
pub fn start(folder: &Path, facilitator: SocketAddr, delays: Delays) -> Result<Option<Process>, Failure> {
    let (Some(node), Some(npm)) = (super::tools::find("node"), super::tools::find("npm")) else {
        eprintln!("without node 20 and npm there is no row of @x402/express");
        return Ok(None);
    };
    let installed = install(&npm)?;
    let address = free_address()?;
    let arguments = [
        installed.join("server.mjs").into_os_string(),
        address.port().to_string().into(),
        format!("http://{facilitator}").into(),
        PRICED.into(),
        delays.upstream.to_string().into(),
    ];
    Process::start("reference", &node, arguments, folder, address).map(Some)
}

/// Once per content of the lock file, which a mark keeps.
fn install(npm: &Path) -> Result<PathBuf, Failure> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("payment-reference");
    fs::create_dir_all(&folder)?;
    for (name, text) in FILES {
        fs::write(folder.join(name), text)?;
    }
    let mark = folder.join("node_modules").join(".installed");
    let lock = fs::read(folder.join(LOCK))?;
    if fs::read(&mark).is_ok_and(|installed| installed == lock) {
        return Ok(folder);
    }
    eprintln!("installing @x402/express {VERSION}");
    let mut command = Command::new(npm);
    command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&folder);
    // What it says is not part of the tables.
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("npm ci: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    fs::write(mark, lock)?;
    Ok(folder)
}
