//! Farebox as it is measured: one thread, the sandbox as its facilitator, a free and a priced route.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::Failure;
use super::process::Process;
use super::rows::{FILES, PRICED};

/// What the priced route costs.
pub const PRICE: &str = "$0.01";
/// The same in the token's own unit.
pub const AMOUNT: &str = "10000";
/// USDC on Base Sepolia.
pub const ASSET: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
/// Whom to pay.
pub const PAY_TO: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";
/// Of what the priced route gives.
pub const DESCRIPTION: &str = "Premium market data";

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
    let free: String =
        FILES.iter().map(|file| format!("[[route]]\npath = \"{}\"\nprice = \"free\"\n\n", file.free)).collect();
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
pay_to = "{PAY_TO}"
facilitators = ["sandbox"]

[upstreams.origin]
servers = ["{origin}"]

{free}[[route]]
path = "{PRICED}"
price = "{PRICE}"
window = "24h"
description = "{DESCRIPTION}"
mime_type = "application/json"
"#
    )
}
