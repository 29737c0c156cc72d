//! Counts, those that are kept, and whether the ones are like the others.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::{Failure, pieces};

/// What a count may differ by: more than hash tables with another seed and another clock make of it, which is 1 %.
const TOLERANCE: f64 = 0.05;

/// So few are no change, whatever their share: one more look into a hash table is 135.
const FEW: u64 = 200;

/// Instructions per call.
#[derive(Deserialize)]
pub struct Counts {
    /// Who compiled what was counted.
    rustc: String,
    /// By the piece's name.
    counts: BTreeMap<String, u64>,
}

impl Counts {
    /// What has just been counted.
    pub fn of(counts: Vec<(String, u64)>) -> Result<Counts, Failure> {
        if counts.is_empty() {
            return Err("no piece has that in its name".into());
        }
        let output = Command::new("rustc").arg("--version").output()?;
        let rustc = String::from_utf8(output.stdout)?.trim().to_owned();
        Ok(Counts { rustc, counts: counts.into_iter().collect() })
    }

    /// What is kept in the file.
    pub fn read(file: &Path) -> Result<Counts, Failure> {
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(toml::from_str(&text)?)
    }

    /// Keeps them in the file.
    pub fn write(&self, file: &Path) -> Result<(), Failure> {
        let mut text = format!(
            "# Instructions per call, as `benches/instructions/run --write` has counted them.\n\
             rustc = \"{}\"\n\n[counts]\n",
            self.rustc
        );
        for (name, count) in &self.counts {
            text.push_str(&format!("\"{name}\" = {count}\n"));
        }
        Ok(fs::write(file, text)?)
    }

    /// Prints them.
    pub fn print(&self) {
        for (name, count) in &self.counts {
            println!("{count:>9}  {name}");
        }
    }

    /// An error where a piece takes more with more routes.
    pub fn same_for_any_routes(&self) -> Result<(), Failure> {
        let mut grown = Vec::new();
        for (fewest, more) in pieces::by_routes() {
            let (Some(few), Some(many)) = (self.counts.get(&fewest), self.counts.get(&more)) else { continue };
            if differs(*few, *many) {
                grown.push(format!("  {more}: {many}, and {few} with the fewest"));
            }
        }
        none_of(&grown, "these depend on the number of routes:", "")
    }

    /// An error where one is not as it is kept; `whole`: or where one of those kept is missing.
    pub fn compare_with(&self, kept: &Counts, whole: bool) -> Result<(), Failure> {
        let mut changed = Vec::new();
        for (name, count) in &self.counts {
            match kept.counts.get(name) {
                None => changed.push(format!("  {name}: {count}, and nothing is kept")),
                Some(before) if differs(*before, *count) => {
                    let percent = (*count as f64 / *before as f64 - 1.0) * 100.0;
                    changed.push(format!("  {name}: from {before} to {count} ({percent:+.1} %)"));
                }
                Some(_) => {}
            }
        }
        let gone = kept.counts.keys().filter(|name| whole && !self.counts.contains_key(*name));
        changed.extend(gone.map(|name| format!("  {name}: kept, and not counted any more")));
        let compiler = if kept.rustc == self.rustc {
            String::new()
        } else {
            format!("\nThey were kept with {}, and this is {}.", kept.rustc, self.rustc)
        };
        let how = format!("To keep the new counts, fewer or more: benches/instructions/run --write{compiler}");
        none_of(&changed, "these take another number of instructions than benches/instructions/counts.toml says:", &how)
    }
}

/// By more than the tolerance, in either direction.
fn differs(before: u64, now: u64) -> bool {
    let difference = before.abs_diff(now);
    difference > FEW && difference as f64 > before as f64 * TOLERANCE
}

fn none_of(lines: &[String], what: &str, how: &str) -> Result<(), Failure> {
    if lines.is_empty() { Ok(()) } else { Err(format!("{what}\n{}\n{how}", lines.join("\n")).into()) }
}
