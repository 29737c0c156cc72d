//! The load: wrk on a core of its own, whose counts are read from a script's last words.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;

use super::Failure;
use super::process::{Process, other_core, pinned};

/// Runs at the end of a measurement; requests are made without a script.
const REPORT: &str = r#"
done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\nREPORT {"requests":%d,"microseconds":%d,"refused":%d,"broken":%d,"p50":%d,"p99":%d}\n',
        summary.requests, summary.duration, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
"#;

/// Before anything is measured: pools fill, memory is touched.
const WARM_UP: Duration = Duration::from_secs(1);

/// Static 402s that nginx answered in a second from one core of the machine on which goals were set in microseconds and per
/// second: what it answers in the same run says what such a goal comes to here.
pub const STATIC_NGINX_THEN: f64 = 166_000.0;

/// What is asked for, over and over.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where it is.
    pub path: &'static str,
    /// What is sent besides.
    pub header: Option<(&'static str, String)>,
    /// What every answer has to be.
    pub expected: Expected,
}

/// What every answer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// 200.
    Success,
    /// 402.
    Challenge,
}

/// How load is made.
pub struct Load {
    wrk: PathBuf,
    script: PathBuf,
    duration: Duration,
    connections: usize,
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Answers per second.
    pub requests_per_second: f64,
    /// User and system time of the server's process per answer, in microseconds.
    pub cpu_microseconds: f64,
    /// Half of all answers came within so many microseconds.
    pub p50_microseconds: f64,
    /// All but one in a hundred came within so many microseconds.
    pub p99_microseconds: f64,
    /// Resident memory of the server's process at the end, in bytes.
    pub resident_bytes: u64,
}

/// What the script says.
#[derive(Deserialize)]
struct Report {
    requests: u64,
    microseconds: u64,
    /// Answers of 400 and above.
    refused: u64,
    broken: u64,
    p50: u64,
    p99: u64,
}

impl Load {
    /// Each measurement lasts so long, on so many connections.
    pub fn new(folder: &Path, duration: Duration, connections: usize) -> Result<Load, Failure> {
        let wrk = super::tools::find("wrk").ok_or("wrk is not there")?;
        let script = folder.join("report.lua");
        fs::write(&script, REPORT)?;
        Ok(Load { wrk, script, duration, connections })
    }

    /// A short run that nobody counts.
    pub fn warm_up(&self, server: &Process, request: &Request) -> Result<(), Failure> {
        self.ask(server, request, WARM_UP).map(|_| ())
    }

    /// Measures it once.
    pub fn run(&self, server: &Process, request: &Request) -> Result<Sample, Failure> {
        let before = server.cpu_seconds()?;
        let report = self.ask(server, request, self.duration)?;
        let cpu = server.cpu_seconds()? - before;
        let requests = report.requests as f64;
        Ok(Sample {
            requests_per_second: requests / (report.microseconds as f64 / 1e6),
            cpu_microseconds: cpu * 1e6 / requests,
            p50_microseconds: report.p50 as f64,
            p99_microseconds: report.p99 as f64,
            resident_bytes: server.resident_bytes()?,
        })
    }

    /// An answer that is not what is expected is an error: it would be counted as if it had been one.
    fn ask(&self, server: &Process, request: &Request, duration: Duration) -> Result<Report, Failure> {
        let mut command = pinned(other_core(), &self.wrk);
        command
            .args(["--threads", "1", "--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", duration.as_secs()), "--timeout", "10s"])
            .arg("--script")
            .arg(&self.script)
            .args(["--header", "Host: api.example.com"]);
        if let Some((name, value)) = &request.header {
            command.args(["--header", &format!("{name}: {value}")]);
        }
        command.arg(format!("http://{}{}", server.address, request.path)).stdin(Stdio::null());
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find_map(|line| line.strip_prefix("REPORT "));
        let line = line.ok_or_else(|| format!("wrk: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
        let report: Report = serde_json::from_str(line)?;
        let refused = match request.expected {
            Expected::Success => 0,
            Expected::Challenge => report.requests,
        };
        if report.requests == 0 || report.broken > 0 || report.refused != refused {
            return Err(format!("{}: answers that were not expected: {line}", request.path).into());
        }
        Ok(report)
    }
}
