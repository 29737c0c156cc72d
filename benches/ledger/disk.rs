//! What the disk can do: one write after the other, each flushed.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::Failure;

/// What a write to a log is, at least: a page.
const PAGE: [u8; 4096] = [0x5a; 4096];

/// Then it is written over from its start: a write-ahead log does not grow for ever either.
const FILE_BYTES: u64 = 4 << 20;

/// Writes of a page that were on the disk before the next one began, per second.
pub fn flushes_per_second(folder: &Path, duration: Duration) -> Result<f64, Failure> {
    let path = folder.join("flushes");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    let mut flushes = 0_u64;
    let started = Instant::now();
    while started.elapsed() < duration {
        if file.stream_position()? >= FILE_BYTES {
            file.seek(SeekFrom::Start(0))?;
        }
        file.write_all(&PAGE)?;
        file.sync_data()?;
        flushes += 1;
    }
    let elapsed = started.elapsed();
    std::fs::remove_file(&path)?;
    Ok(flushes as f64 / elapsed.as_secs_f64())
}
