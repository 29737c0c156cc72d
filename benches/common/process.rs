//! A server under measurement: started on a core of its own, read through `/proc`, ended with this process.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{io, thread};

use super::Failure;

/// Where the server under measurement runs.
pub const SERVER_CORE: &str = "0";

/// Where everything else runs; the same one where there is only one.
pub fn other_core() -> &'static str {
    let several = thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    if several { "1" } else { SERVER_CORE }
}

/// In which `/proc/PID/stat` counts: Linux's `USER_HZ`, the same on every machine that it tells this number to.
const TICKS_PER_SECOND: f64 = 100.0;

/// How long a server may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server.
pub struct Process {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

impl Process {
    /// Starts a server on its core and waits until it listens.
    pub fn start(
        name: &str,
        binary: &Path,
        arguments: impl IntoIterator<Item = OsString>,
        folder: &Path,
        address: SocketAddr,
    ) -> Result<Process, Failure> {
        Process::start_on(SERVER_CORE, name, binary, arguments, folder, address)
    }

    /// The same, on a core.
    pub fn start_on(
        core: &str,
        name: &str,
        binary: &Path,
        arguments: impl IntoIterator<Item = OsString>,
        folder: &Path,
        address: SocketAddr,
    ) -> Result<Process, Failure> {
        let log = folder.join(format!("{name}.log"));
        let mut command = pinned(core, binary);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let child = command.spawn().map_err(|error| format!("{}: {error}", binary.display()))?;
        let mut process = Process { address, child };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = process.child.try_wait()?;
            if ended.is_some() || started.elapsed() > START_TIMEOUT {
                let why = fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("the {name} does not listen on {address}:\n{why}").into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(process)
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// User and system time of all its threads so far, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64, Failure> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        // The second field is the command's name in brackets; user and system time are the 14th and the 15th.
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
        let ticks =
            |field: usize| fields.split_ascii_whitespace().nth(field - 3).and_then(|text| text.parse::<f64>().ok());
        let (user, system) = ticks(14).zip(ticks(15)).ok_or("/proc/PID/stat has another layout")?;
        Ok((user + system) / TICKS_PER_SECOND)
    }

    /// Its resident memory, in bytes.
    pub fn resident_bytes(&self) -> Result<u64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(kib.ok_or("/proc/PID/status has another layout")? * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended: io::Result<_> = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            eprintln!("process {} may still run: {error}", self.child.id());
        }
    }
}

/// A command on a core, that the kernel kills when this process ends in any way. Both programs become the one that
/// they start, so its process id is the child's.
pub fn pinned(core: &str, binary: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "--cpu-list", core]).arg(binary);
    command
}

/// A port that nobody listens on now.
pub fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
