//! Gets a file's text.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::reference::Sources;
use super::{Fault, Loaded, Report, parse_file};

/// The largest file that is read, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Reads, checks and resolves a file; environment references are looked up in the process's environment.
pub fn load(path: &Path) -> Result<Loaded, Report> {
    let name = path.display().to_string();
    let bytes = read(path).map_err(|why| Report {
        fault: Fault::Unreadable,
        errors: 1,
        rendered: format!("error: cannot read {name}: {why}"),
        warnings: Vec::new(),
    })?;
    let text = text(bytes, &name)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse_file(&text, &name, Some(path), Sources { env: &|variable| std::env::var(variable).ok(), base_dir: folder })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    if file.metadata().map_err(|error| error.to_string())?.is_dir() {
        return Err("it is a directory, and a file is wanted".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn text(bytes: Vec<u8>, name: &str) -> Result<String, Report> {
    let wrong = |rendered| Report { fault: Fault::Wrong, errors: 1, rendered, warnings: Vec::new() };
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(format!("error: {name} is larger than 16 MiB: it can hardly be a config file")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        // A secret may stand on the line, and there is no tree yet to find it by: only the position is shown.
        let before = String::from_utf8_lossy(error.as_bytes().get(..at).unwrap_or_default()).into_owned();
        let line = before.lines().count().max(1);
        let line = line.saturating_add(usize::from(before.ends_with('\n')));
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
        let help = "save the file as UTF-8";
        wrong(format!("error: not UTF-8 text\n --> {name}:{line}:{column}\n  = help: {help}"))
    })
}
