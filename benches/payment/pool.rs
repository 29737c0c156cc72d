//! Payments that are signed before anything is measured: each with a nonce of its own, by many payers.

use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::thread;

use alloy::signers::local::PrivateKeySigner;
use http::HeaderValue;

use super::Failure;
use super::sign::Terms;

/// How many of them are one payer's.
const PER_PAYER: usize = 10;

/// Signs so many on all cores and writes them into a file, a header a line.
pub fn fill(file: &Path, terms: &Terms, count: usize) -> Result<(), Failure> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let parts: Result<Vec<String>, Failure> = thread::scope(|scope| {
        let part = |thread: usize| {
            let count = count / threads + usize::from(thread < count % threads);
            scope.spawn(move || sign(terms, count))
        };
        let signing: Vec<_> = (0..threads).map(part).collect();
        signing.into_iter().map(|part| part.join().map_err(|_| "a payer panicked")?).collect()
    });
    Ok(fs::write(file, parts?.concat())?)
}

/// Reads the file back.
pub fn read(file: &Path) -> Result<Vec<HeaderValue>, Failure> {
    fs::read_to_string(file)?.lines().map(|line| Ok(HeaderValue::try_from(line)?)).collect()
}

fn sign(terms: &Terms, count: usize) -> Result<String, Failure> {
    let mut lines = String::new();
    let mut left = count;
    while left > 0 {
        let payer = PrivateKeySigner::random();
        for _ in 0..left.min(PER_PAYER) {
            lines.push_str(&terms.sign(&payer)?);
            lines.push('\n');
        }
        left = left.saturating_sub(PER_PAYER);
    }
    Ok(lines)
}
