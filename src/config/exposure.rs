//! Files that hold secrets, and whether others on the machine can read them.
//!
//! Only what everybody can read is warned of: a group is somebody's choice. A file in a folder that others cannot enter
//! is not open, whatever its own permissions are.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::diagnostic::{Diagnostic, Span};
use super::section::Reader;

const OTHERS_READ: u32 = 0o004;
const OTHERS_ENTER: u32 = 0o001;

/// Whether any user of the machine can read it. What is not there, or cannot be looked at, is not.
fn is_open(path: &Path) -> bool {
    let Ok(path) = fs::canonicalize(path) else { return false };
    let has = |path: &Path, bits: u32| fs::metadata(path).is_ok_and(|found| found.mode() & bits == bits);
    has(&path, OTHERS_READ) && path.ancestors().skip(1).all(|folder| has(folder, OTHERS_ENTER))
}

impl Reader<'_> {
    /// Warns, once a file, where everybody can read one that holds secrets. `what` it is, with its article.
    pub(super) fn warn_if_open(&mut self, path: &Path, span: Span, what: &str) {
        if self.warned.iter().any(|warned| warned == path) || !is_open(path) {
            return;
        }
        self.warned.push(path.to_owned());
        let shown = path.display();
        self.report(Diagnostic::warning(
            span,
            format!("everybody on this machine can read `{shown}`, {what}"),
            format!("chmod o-rwx '{shown}'"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config;

    const SECRET: &str = "hushhushhushhushhushhushhushhush";

    /// A folder that others can enter, as the one above it.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        folder
    }

    /// The warnings of a file of this mode in this folder; each is one line here.
    fn warnings(folder: &Path, text: &str, mode: u32) -> Vec<String> {
        let path = folder.join("gateway.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let loaded = config::load(&path).unwrap();
        loaded.warnings.into_iter().filter(|warning| warning.contains("everybody")).collect()
    }

    fn file(key: &str) -> String {
        format!("{key}\n[upstreams.api]\nservers = [\"127.0.0.1:3000\"]\n[[route]]\npath = \"/v1\"\nprice = \"free\"\n")
    }

    #[test]
    fn a_file_is_open_where_others_can_read_it_and_enter_its_folder() {
        let outer = folder();
        let inner = outer.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let path = inner.join("secret");
        fs::write(&path, SECRET).unwrap();
        for (folder_mode, file_mode, open) in [
            (0o755, 0o644, true),
            (0o711, 0o604, true),
            (0o755, 0o640, false),
            (0o755, 0o600, false),
            (0o755, 0o622, false),
            (0o750, 0o644, false),
            (0o754, 0o644, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(file_mode)).unwrap();
            fs::set_permissions(&inner, Permissions::from_mode(folder_mode)).unwrap();
            assert_eq!(is_open(&path), open, "{folder_mode:o} {file_mode:o}");
        }
        assert!(!is_open(&inner.join("absent")));
    }

    #[test]
    fn a_config_file_is_warned_of_where_a_secret_stands_in_it() {
        let folder = folder();
        let with = file(&format!("[server]\nupstream_secret = [\"{SECRET}1\", \"{SECRET}2\"]"));
        let without = file("");
        for (text, mode, warned) in [(&with, 0o644, 1), (&with, 0o640, 0), (&without, 0o644, 0)] {
            let warnings = warnings(folder.path(), text, mode);
            assert_eq!(warnings.len(), warned, "{mode:o} {warnings:?}");
            let remedy = format!("chmod o-rwx '{}/gateway.toml'", folder.path().display());
            assert!(warnings.iter().all(|warning| warning.contains(&remedy) && !warning.contains(SECRET)));
        }
    }

    #[test]
    fn a_file_that_is_referred_to_is_warned_of_once() {
        let folder = folder();
        let path = folder.path().join("token");
        fs::write(&path, SECRET).unwrap();
        let text = file("[server]\nupstream_secret = [\"${file:token}\", \"${file:token}x\"]");
        for (mode, warned) in [(0o644, 1), (0o640, 0), (0o400, 0)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let warnings = warnings(folder.path(), &text, 0o600);
            assert_eq!(warnings.len(), warned, "{mode:o} {warnings:?}");
            assert!(warnings.iter().all(|warning| warning.contains("token'") && !warning.contains(SECRET)));
        }
    }

    #[test]
    fn the_private_key_of_tls_is_warned_of_and_the_certificate_is_not() {
        let folder = folder();
        let made = rcgen::generate_simple_self_signed(["gateway.test".to_owned()]).unwrap();
        let tls = "tls = { listen = [\"127.0.0.1:8443\"], cert = \"c.pem\", key = \"k.pem\" }";
        fs::write(folder.path().join("c.pem"), made.cert.pem()).unwrap();
        fs::set_permissions(folder.path().join("c.pem"), Permissions::from_mode(0o644)).unwrap();
        let key = folder.path().join("k.pem");
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        for (mode, warned) in [(0o644, 1), (0o640, 0), (0o600, 0)] {
            fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
            let warnings = warnings(folder.path(), &file(&format!("[server]\n{tls}")), 0o644);
            assert_eq!(warnings.len(), warned, "{mode:o} {warnings:?}");
            assert!(warnings.iter().all(|warning| warning.contains("k.pem'") && warning.contains("the private key")));
        }
    }

    #[test]
    fn a_ledger_is_warned_of() {
        let folder = folder();
        for (name, mode, warned) in [("l.db", 0o644, 1), ("l.db", 0o600, 0), ("l.db-wal", 0o666, 1)] {
            let path = folder.path().join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let warnings = warnings(folder.path(), &file("[ledger]\nurl = \"sqlite:l.db\""), 0o600);
            assert_eq!(warnings.len(), warned, "{name} {mode:o} {warnings:?}");
        }
    }
}
