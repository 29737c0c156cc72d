//! What is behind the proxies: nginx with one small file.

use std::fs;
use std::path::Path;

use super::Failure;
use super::process::{Process, free_address, other_core};

/// Bytes of the file.
const FILE_BYTES: usize = 1024;

/// Starts it on the load's core.
pub fn start(folder: &Path) -> Result<Process, Failure> {
    let address = free_address()?;
    let root = folder.join("origin");
    for path in [super::rows::FREE, super::rows::FORWARDED, super::rows::PRICED] {
        let file = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap_or(&root))?;
        fs::write(file, "x".repeat(FILE_BYTES))?;
    }
    let config = folder.join("nginx.conf");
    fs::write(&config, configuration(folder, &root, &address.to_string()))?;
    let binary = super::tools::find("nginx").ok_or("nginx is not there")?;
    Process::start_on(other_core(), "origin", &binary, ["-c".into(), config.into_os_string()], folder, address)
}

/// One process that writes nothing but into the run's folder, and closes no connection between two requests.
fn configuration(folder: &Path, root: &Path, address: &str) -> String {
    let (folder, root) = (folder.display(), root.display());
    format!(
        "daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    open_file_cache max=100;
    default_type application/octet-stream;
    server {{
        listen {address};
        root {root};
    }}
}}
"
    )
}
