//! The programs that a run needs besides this one, and how they come here.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use super::Failure;

/// Program and Debian package.
const NEEDED: &[(&str, &str)] =
    &[("nginx", "nginx-light"), ("wrk", "wrk"), ("taskset", "util-linux"), ("setpriv", "util-linux")];

/// Where administrators' programs are, which not everybody has in `PATH`.
const ADMINISTRATORS: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Installs what is missing where that is allowed (as root on a Debian); else says which packages are needed.
pub fn require() -> Result<(), Failure> {
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    let apt = find("apt-get").filter(|_| is_root());
    let Some(apt) = apt else {
        return Err(format!("please install: {} (names of Debian's packages)", packages.join(" ")).into());
    };
    eprintln!("installing {}", packages.join(" "));
    // A fresh machine has no list of packages yet.
    for arguments in [&["update"][..], &["install", "--yes", "--no-install-recommends"]] {
        let packages = if arguments.len() > 1 { &packages[..] } else { &[] };
        let status = Command::new(&apt).arg("--quiet").args(arguments).args(packages).status()?;
        if !status.success() {
            return Err(format!("apt-get {}: {status}", arguments.join(" ")).into());
        }
    }
    match missing() {
        packages if packages.is_empty() => Ok(()),
        packages => Err(format!("still missing: {}", packages.join(" ")).into()),
    }
}

/// A program's path.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(ADMINISTRATORS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn missing() -> Vec<&'static str> {
    let mut packages: Vec<_> =
        NEEDED.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
