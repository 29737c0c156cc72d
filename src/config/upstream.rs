//! `[upstreams.NAME]`: the backends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use url::{Host, Url};

use super::declared::Declarations;
use super::diagnostic::Diagnostic;
use super::section::{At, Keys, Reader, Section, Text};

/// `[upstreams.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    /// Never empty.
    pub servers: Vec<ServerAddress>,
    /// What it sees as `Host`.
    pub host: UpstreamHost,
    /// To connect, TLS included.
    pub connect_timeout: Duration,
    /// Between two reads of a response.
    pub read_timeout: Duration,
    /// Between two writes of a request.
    pub write_timeout: Duration,
    /// For which an idle connection is kept.
    pub idle_timeout: Duration,
    /// Whether it takes `/A` for `/a`: then its routes match in any case.
    pub case_insensitive: bool,
}

/// One server of an upstream: `127.0.0.1:3000`, `backend:3000`, `https://backend`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// 80 or 443 where left out of a URL.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// What an upstream sees as `Host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamHost {
    /// What the client sent (`host = "keep"`, the default).
    Keep,
    /// This name.
    Set(String),
}

pub(super) const UPSTREAM: Keys = Keys {
    section: "[upstreams.NAME]",
    names: &["servers", "host", "connect_timeout", "read_timeout", "write_timeout", "idle_timeout", "case_insensitive"],
};

const CONNECT_DEFAULT: Duration = Duration::from_secs(5);
const OTHER_DEFAULT: Duration = Duration::from_secs(60);
const SERVERS_HELP: &str = "write `servers = [\"127.0.0.1:3000\"]`; \"http://backend\" and \"https://backend\" work too, \
                            without a path";
const HOST_HELP: &str = "write \"keep\" for what the client sent, or a name such as \"backend.example.com\"";

/// Reads `[upstreams.*]`.
pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>, listen: &[At<SocketAddr>]) -> Declarations<Upstream> {
    Declarations::read(reader, root, "upstreams", &UPSTREAM, "upstream", |reader, name, section| {
        let servers = read_servers(reader, section, listen);
        let host = read_host(reader, section);
        let connect_timeout = section.timeout(reader, "connect_timeout", CONNECT_DEFAULT);
        let [read_timeout, write_timeout, idle_timeout] =
            ["read_timeout", "write_timeout", "idle_timeout"].map(|key| section.timeout(reader, key, OTHER_DEFAULT));
        let case_insensitive = section.flag(reader, "case_insensitive", false);
        Some(Upstream {
            name: name.clone(),
            servers: servers?,
            host: host?,
            connect_timeout,
            read_timeout,
            write_timeout,
            idle_timeout,
            case_insensitive,
        })
    })
}

fn read_servers(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    listen: &[At<SocketAddr>],
) -> Option<Vec<ServerAddress>> {
    let Some(texts) = section.texts(reader, "servers", SERVERS_HELP) else {
        if section.value("servers").is_none() {
            section.missing(reader, "servers", SERVERS_HELP);
        }
        return None;
    };
    if texts.value.is_empty() {
        reader.report(Diagnostic::error(texts.span, "`servers` is empty", SERVERS_HELP));
        return None;
    }
    let servers: Vec<Option<ServerAddress>> =
        texts.value.iter().map(|text| read_server(reader, text, listen)).collect();
    servers.into_iter().collect()
}

fn read_server(reader: &mut Reader<'_>, text: &Text, listen: &[At<SocketAddr>]) -> Option<ServerAddress> {
    let Some(server) = server_address(&text.value) else {
        reader.report(Diagnostic::error(text.span.clone(), "not a server's address", SERVERS_HELP));
        return None;
    };
    let itself = listen.iter().find(|own| is_itself(&server, own.value));
    if let Some(own) = itself {
        let diagnostic = Diagnostic::error(
            text.span.clone(),
            "this is the gateway's own listener: requests would run in a circle",
            "write the address of the backend",
        );
        reader.report(diagnostic.also(own.span.clone(), ""));
        return None;
    }
    Some(server)
}

/// `host:port`, or a URL of scheme and host and perhaps a port.
fn server_address(text: &str) -> Option<ServerAddress> {
    let url = match text.split_once("://") {
        Some((_, rest)) if rest.trim_end_matches('/').contains('/') => return None,
        Some(_) => text.to_owned(),
        None => {
            let port = text.rsplit_once(':')?.1;
            if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) || text.contains('/') {
                return None;
            }
            format!("http://{text}")
        }
    };
    let url = Url::parse(&url).ok()?;
    let tls = match url.scheme() {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let bare = url.path() == "/"
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    let host = match url.host()? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    };
    let port = url.port_or_known_default().filter(|port| *port != 0)?;
    bare.then_some(ServerAddress { host, port, tls })
}

fn is_itself(server: &ServerAddress, own: SocketAddr) -> bool {
    let host = if server.host == "localhost" { "127.0.0.1" } else { &server.host };
    let Ok(ip) = host.parse::<std::net::IpAddr>() else { return false };
    server.port == own.port() && (ip == own.ip() || (ip.is_loopback() && own.ip().is_unspecified()))
}

fn read_host(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<UpstreamHost> {
    let Some(text) = section.text(reader, "host", HOST_HELP) else {
        return section.value("host").is_none().then_some(UpstreamHost::Keep);
    };
    if text.value == "keep" {
        return Some(UpstreamHost::Keep);
    }
    // An authority is what `Host` may hold (RFC 9110, 7.2), less the credentials.
    match text.value.parse::<http::uri::Authority>() {
        Ok(authority) if !authority.as_str().contains('@') => Some(UpstreamHost::Set(text.value)),
        Ok(_) | Err(_) => {
            reader.report(Diagnostic::error(text.span, "not a name for `Host`", HOST_HELP));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_or_refused() {
        let ok = |host: &str, port, tls| Some(ServerAddress { host: host.to_owned(), port, tls });
        let cases = [
            ("127.0.0.1:3000", ok("127.0.0.1", 3000, false)),
            ("backend:80", ok("backend", 80, false)),
            ("[::1]:3000", ok("::1", 3000, false)),
            ("http://backend", ok("backend", 80, false)),
            ("https://backend", ok("backend", 443, true)),
            ("https://backend/", ok("backend", 443, true)),
            ("https://backend:8443", ok("backend", 8443, true)),
            ("https://[::1]", ok("::1", 443, true)),
            ("backend", None),
            ("backend:", None),
            ("backend:0", None),
            ("backend:70000", None),
            ("backend:http", None),
            ("backend/path:80", None),
            ("http://backend/path", None),
            ("http://user@backend", None),
            ("http://backend?x", None),
            ("ftp://backend", None),
            ("http://", None),
            ("[::1]", None),
            (":3000", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(server_address(text), expected, "{text:?}");
        }
    }
}
