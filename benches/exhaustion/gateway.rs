//! Farebox as it is strained: one thread, every limit at its default but for the payments of one address, for all
//! strangers have the same.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::Failure;
use super::process::Process;

/// Starts it. `beside` is where the strangers have an upstream and a facilitator of their own, if they have.
pub fn start(binary: &Path, folder: &Path, origin: SocketAddr, beside: SocketAddr) -> Result<Process, Failure> {
    let address = super::process::free_address()?;
    let config = folder.join("farebox.toml");
    fs::write(&config, configuration(address, origin, beside))?;
    Process::start("farebox", binary, ["run".into(), config.into_os_string()], folder, address)
}

fn configuration(address: SocketAddr, origin: SocketAddr, beside: SocketAddr) -> String {
    let (free, priced) = (super::rows::FREE, super::rows::PRICED);
    format!(
        r#"[server]
listen = ["{address}"]
public_url = "https://api.example.com"
threads = 1
payment_limit = "100000/s"

[admin]
listen = "off"

[log]
access = false
level = "error,pingora_proxy=off"

[ledger]
url = "memory:"

[facilitators.silent]
url = "http://{beside}"

[pay.usdc]
network = "base-sepolia"
asset = "USDC"
pay_to = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"
facilitators = ["silent"]

[upstreams.origin]
servers = ["{origin}"]

[upstreams.slow]
servers = ["{beside}"]

[[route]]
path = "{free}"
price = "free"
upstream = "origin"

[[route]]
path = "/free/upload"
price = "free"
upstream = "slow"

[[route]]
path = "{priced}"
price = "$0.01"
upstream = "origin"
"#
    )
}
