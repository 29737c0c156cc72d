//! Farebox as it is measured: one thread, the sandbox as its facilitator, a free and a priced route.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::Failure;
use super::process::Process;
use super::rows::{FREE, PRICED};

/// Whether it writes a line per request, as it does unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    /// To a file, through its standard error.
    On,
    /// Not.
    Off,
}

/// Starts it.
pub fn start(binary: &Path, folder: &Path, origin: SocketAddr, access: AccessLog) -> Result<Process, Failure> {
    let address = super::process::free_address()?;
    let name = match access {
        AccessLog::On => "farebox with its access log",
        AccessLog::Off => "farebox",
    };
    let config = folder.join(format!("{name}.toml"));
    fs::write(&config, configuration(address, origin, access))?;
    Process::start(name, binary, ["run".into(), config.into_os_string()], folder, address)
}

/// The window outlasts any run.
fn configuration(address: SocketAddr, origin: SocketAddr, access: AccessLog) -> String {
    let access = access == AccessLog::On;
    format!(
        r#"[server]
listen = ["{address}"]
public_url = "https://api.example.com"
threads = 1

[admin]
listen = "off"

[log]
access = {access}

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

[[route]]
path = "{FREE}"
price = "free"

[[route]]
path = "{PRICED}"
price = "$0.01"
window = "24h"
description = "Premium market data"
mime_type = "application/json"
"#
    )
}
