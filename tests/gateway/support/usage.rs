//! What a process holds, as Linux tells it.

use std::fs;

/// A look at one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory, in bytes.
    pub resident: u64,
    /// The most that was ever resident, in bytes.
    pub peak: u64,
    /// Open sockets.
    pub sockets: usize,
    /// Threads.
    pub threads: u64,
}

impl Usage {
    pub fn of(process: u32) -> Usage {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process that runs");
        let number = |key: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("no {key}"));
            line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
        };
        let files = fs::read_dir(format!("/proc/{process}/fd")).expect("a process that runs");
        // One that has been closed since the folder was read has no target.
        let targets = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        Usage {
            resident: number("VmRSS:") * 1024,
            peak: number("VmHWM:") * 1024,
            sockets: targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count(),
            threads: number("Threads:"),
        }
    }
}

/// The lines of `/proc/net/tcp` that are a process's own: addresses and state in hexadecimal.
pub fn connections(process: u32) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{process}/fd")).expect("its files").flatten();
    let links = files.filter_map(|file| fs::read_link(file.path()).ok());
    let sockets: Vec<String> =
        links.filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's list");
    let is_its =
        |line: &&str| line.split_whitespace().nth(9).is_some_and(|inode| sockets.iter().any(|own| own == inode));
    table.lines().filter(is_its).map(str::to_owned).collect()
}
