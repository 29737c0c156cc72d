//! Farebox as it is measured: one thread, one priced route in one settle mode, and the ledger of the row.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::Failure;
use super::behind::{Delays, PRICED};
use super::process::{Process, free_address};

/// Whom to pay.
pub const PAY_TO: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";

/// Of what is paid for, for people.
pub const DESCRIPTION: &str = "Premium market data";

/// When the money moves, and who verifies before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Verified by the facilitator, forwarded, settled: the default, and the order of the reference SDK.
    OnSuccess,
    /// The same, verified by the gateway alone.
    Local,
    /// Settled, forwarded.
    Before,
    /// Settled while it is forwarded.
    Overlap,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 4] = [Mode::OnSuccess, Mode::Local, Mode::Before, Mode::Overlap];

    /// As a route's table has it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::OnSuccess => "on-success",
            Mode::Local => "on-success, verify = \"local\"",
            Mode::Before => "before",
            Mode::Overlap => "overlap",
        }
    }

    /// Verifications that each payment is worth; a settlement it always is.
    pub fn verifications(self) -> u64 {
        match self {
            Mode::OnSuccess => 1,
            Mode::Local | Mode::Before | Mode::Overlap => 0,
        }
    }

    /// The milliseconds that nobody who keeps to the mode can go below.
    pub fn bound(self, delays: Delays) -> u64 {
        let Delays { verify, settle, upstream } = delays;
        match self {
            Mode::OnSuccess => verify + upstream + settle,
            Mode::Local | Mode::Before => upstream + settle,
            Mode::Overlap => upstream.max(settle),
        }
    }

    fn keys(self) -> &'static str {
        match self {
            Mode::OnSuccess => "settle = \"on-success\"",
            Mode::Local => "settle = \"on-success\"\nverify = \"local\"",
            Mode::Before => "settle = \"before\"",
            Mode::Overlap => "settle = \"overlap\"",
        }
    }
}

/// What a row's gateway is like.
pub struct Setting<'a> {
    /// Its name among the others'.
    pub name: &'a str,
    /// Its route's settle mode.
    pub mode: Mode,
    /// Where its payments are remembered.
    pub ledger: &'a str,
    /// Whether it writes a line per request, as it does unless told otherwise.
    pub access_log: bool,
}

/// Starts it between its clients and what is behind it.
pub fn start(binary: &Path, folder: &Path, behind: SocketAddr, setting: &Setting<'_>) -> Result<Process, Failure> {
    let address = free_address()?;
    let config = folder.join(format!("{}.toml", setting.name));
    fs::write(&config, configuration(address, behind, setting))?;
    Process::start(setting.name, binary, ["run".into(), config.into_os_string()], folder, address)
}

/// All payments come from one address here, and a pool of them is good for as long as a round may take.
fn configuration(address: SocketAddr, behind: SocketAddr, setting: &Setting<'_>) -> String {
    let Setting { mode, ledger, access_log, .. } = setting;
    let mode = mode.keys();
    format!(
        r#"[server]
listen = ["{address}"]
public_url = "https://api.example.com"
threads = 1
payment_limit = "1000000/s"

[admin]
listen = "off"

[log]
access = {access_log}

[ledger]
url = "{ledger}"

[facilitators.behind]
url = "http://{behind}"

[pay.usdc]
network = "base-sepolia"
asset = "USDC"
pay_to = "{PAY_TO}"
facilitators = ["behind"]
max_timeout = "1h"

[upstreams.behind]
servers = ["{behind}"]

[[route]]
path = "{PRICED}"
price = "$0.01"
description = "{DESCRIPTION}"
mime_type = "application/json"
{mode}
"#
    )
}
