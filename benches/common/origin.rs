//! What is behind the proxies: nginx with a few files.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::Failure;
use super::process::{Process, free_address, other_core};

/// From so many bytes on, a file goes from the kernel's memory into the connection without a copy: as much of the core
/// that it shares with the load is to be left to the load.
const LARGE_BYTES: usize = 64 * 1024;

/// Connections that nginx makes room for, if it is not told otherwise.
pub const CONNECTIONS: usize = 4096;

/// Starts it on the load's core, with files of so many bytes.
pub fn start(folder: &Path, files: impl IntoIterator<Item = (&'static str, usize)>) -> Result<Process, Failure> {
    let root = folder.join("origin");
    let mut server = format!("root {};\n", root.display());
    for (path, bytes) in files {
        let file = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap_or(&root))?;
        fs::write(file, "x".repeat(bytes))?;
        if bytes >= LARGE_BYTES {
            server.push_str(&format!("location = {path} {{ sendfile on; tcp_nopush on; }}\n"));
        }
    }
    nginx(CONNECTIONS, other_core(), &folder.join("origin-nginx"), "", &server)
}

/// Starts nginx on a core, with room for so many connections: one process that writes nothing but into its folder, and
/// closes no connection between two requests.
pub fn nginx(connections: usize, core: &str, folder: &Path, http: &str, server: &str) -> Result<Process, Failure> {
    let address = free_address()?;
    fs::create_dir_all(folder)?;
    let config = folder.join("nginx.conf");
    fs::write(&config, configuration(connections, folder, address, http, server))?;
    let binary = super::tools::find("nginx").ok_or("nginx is not there")?;
    Process::start_on(core, "nginx", &binary, ["-c".into(), config.into_os_string()], folder, address)
}

fn configuration(connections: usize, folder: &Path, address: SocketAddr, http: &str, server: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {connections}; }}
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
    {http}
    server {{
        listen {address};
        {server}
    }}
}}
"
    )
}
