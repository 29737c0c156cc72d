//! Memory, as the kernel counts it.

use std::fs;

use super::Failure;

/// What this process has, in bytes.
pub fn resident() -> Result<u64, Failure> {
    bytes("/proc/self/status", "VmRSS:")
}

/// What is left for others, in bytes.
pub fn available() -> Result<u64, Failure> {
    bytes("/proc/meminfo", "MemAvailable:")
}

/// A line of one of its tables.
fn bytes(file: &str, name: &str) -> Result<u64, Failure> {
    let text = fs::read_to_string(file)?;
    let kib = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.ok_or_else(|| format!("{file} has another layout"))? * 1024)
}
