//! What a static answer of nginx costs on this machine, on the gateways' core: what goals that were set on another machine
//! are measured with.

use std::path::Path;
use std::time::Duration;

use super::Failure;
use super::behind::PRICED;
use super::load::{Expected, Load, Request, Sample};
use super::origin::{self, CONNECTIONS};
use super::process::{Process, SERVER_CORE};

/// With its head about as long as the challenge of a route with one way to pay.
const BODY_BYTES: usize = 1_200;

/// How long a round lasts.
const DURATION: Duration = Duration::from_secs(2);

/// nginx, and who asks it.
pub struct Nginx {
    process: Process,
    load: Load,
    request: Request,
}

impl Nginx {
    /// Starts it, for so many connections.
    pub fn start(folder: &Path, connections: usize) -> Result<Nginx, Failure> {
        let answer = format!("location {PRICED} {{ return 402 '{}'; }}", "x".repeat(BODY_BYTES));
        let process = origin::nginx(CONNECTIONS, SERVER_CORE, &folder.join("nginx"), "", &answer)?;
        let load = Load::new(folder, DURATION, connections)?;
        let request = Request { path: PRICED, header: None, expected: Expected::Challenge };
        load.warm_up(&process, &request)?;
        Ok(Nginx { process, load, request })
    }

    /// One round.
    pub fn sample(&self) -> Result<Sample, Failure> {
        self.load.run(&self.process, &self.request)
    }
}
