//! nginx where Farebox stands: it answers the same challenge from its configuration, and forwards everything else.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::Failure;
use super::bare::Challenge;
use super::origin::{CONNECTIONS, nginx};
use super::process::{Process, SERVER_CORE};
use super::rows::PRICED;

/// Starts it.
pub fn start(folder: &Path, origin: SocketAddr, challenge: &Challenge) -> Result<Process, Failure> {
    start_for(CONNECTIONS, folder, origin, challenge)
}

/// The same, with room for so many connections.
pub fn start_for(
    connections: usize,
    folder: &Path,
    origin: SocketAddr,
    challenge: &Challenge,
) -> Result<Process, Failure> {
    // What nginx writes by itself, it does not have to be told.
    let by_itself = |name: &str| ["content-length", "content-type", "server"].contains(&name);
    let mut fields = String::new();
    for (name, value) in challenge.headers.iter().filter(|(name, _)| !by_itself(name)) {
        fields.push_str(&format!("add_header {name} {} always;\n", quoted(value)?));
    }
    let (status, body) = (challenge.status, quoted(&challenge.body)?);
    // What does not fit into its buffers waits in the kernel's, as in the other proxies: no file is written.
    let server = format!(
        "location {PRICED} {{
            default_type application/json;
            {fields}
            return {status} {body};
        }}
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_max_temp_file_size 0;
            proxy_set_header Connection \"\";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $host;
        }}"
    );
    let folder = folder.join("front");
    fs::create_dir_all(&folder)?;
    nginx(
        connections,
        SERVER_CORE,
        &folder,
        &format!("upstream origin {{ server {origin}; keepalive 1024; }}"),
        &server,
    )
}

/// A text as nginx reads it back, without its variables.
fn quoted(text: &str) -> Result<String, Failure> {
    if text.contains('$') {
        return Err("nginx would take a $ in the challenge for a variable".into());
    }
    Ok(format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")))
}
