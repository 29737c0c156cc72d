//! A client that asks once and keeps its connection: what an idle connection has behind it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Failure;

/// Nothing takes so long.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A connection that may be asked on.
pub fn connect(server: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Asks for a path and reads the answer to its end; its status.
pub fn ask(stream: &mut TcpStream, path: &str) -> Result<u16, Failure> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: api.example.com\r\n\r\n").as_bytes())?;
    let (mut answer, mut piece) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err("a connection was closed that should be kept".into());
        }
        answer.extend_from_slice(piece.get(..count).unwrap_or_default());
        let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(answer.get(..head).unwrap_or_default()).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let length = length.ok_or("an answer does not say how long it is")?;
        if answer.len() >= head + 4 + length {
            let status = text.split_ascii_whitespace().nth(1).and_then(|status| status.parse().ok());
            return Ok(status.ok_or("an answer without a status")?);
        }
    }
}
