//! Where to listen: for clients, with and without TLS, and for the operator; nothing twice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::diagnostic::Diagnostic;
use super::section::{At, Keys, Reader, Section, Text};
use super::tls::{self, Tls};

/// `[admin]`: the operator's listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens; `None` (`listen = "off"`): nowhere. A change needs a restart.
    pub listen: Option<SocketAddr>,
}

pub(super) const ADMIN: Keys = Keys { section: "[admin]", names: &["listen"] };

/// Loopback: what is not meant for others is not open to them.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

const LISTEN_HELP: &str = "write `listen = [\"0.0.0.0:8080\"]` for all interfaces, `[\"127.0.0.1:8080\"]` for this \
                           machine only";

/// Reads `[server] listen`.
pub(super) fn read_plain(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<At<SocketAddr>> {
    let with_tls = section.value("tls").is_some();
    let Some(texts) = section.texts(reader, "listen", LISTEN_HELP) else {
        // Who asks for TLS and for nothing else gets nothing else.
        if with_tls && section.value("listen").is_none() {
            return Vec::new();
        }
        return vec![At { value: LISTEN_DEFAULT, span: section.key_span("listen") }];
    };
    if texts.value.is_empty() && !with_tls {
        reader.report(Diagnostic::error(texts.span, "`listen` is empty: nobody could connect", LISTEN_HELP));
    }
    let mut listen: Vec<At<SocketAddr>> = Vec::new();
    for text in &texts.value {
        let Some(address) = socket_address(reader, text) else { continue };
        report_overlap(reader, &address, &listen);
        listen.push(address);
    }
    listen
}

/// Reads `[server] tls` and adds its addresses to those of the other listeners.
pub(super) fn read_tls(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    listen: &mut Vec<At<SocketAddr>>,
) -> Option<Tls> {
    let tls::Listed { listen: addresses, identity } = tls::read(reader, section, socket_address)?;
    let mut own = Vec::new();
    for address in addresses {
        report_overlap(reader, &address, listen);
        own.push(address.value);
        listen.push(address);
    }
    identity.map(|identity| Tls { listen: own, identity })
}

/// Reads `[admin]`; `server` has the addresses of the listeners for clients.
pub(super) fn read_admin(reader: &mut Reader<'_>, root: &Section<'_>, server: &[At<SocketAddr>]) -> Admin {
    let section = root.section(reader, "admin", &ADMIN);
    let help = "write `listen = \"127.0.0.1:9090\"`, or \"off\" for no operator's listener";
    let address = match section.text(reader, "listen", help) {
        Some(text) if text.value == "off" => return Admin { listen: None },
        Some(text) => socket_address(reader, &text),
        None => Some(At { value: ADMIN_DEFAULT, span: section.key_span("listen") }),
    };
    if let Some(address) = &address {
        if !address.value.ip().is_loopback() {
            reader.report(Diagnostic::warning(
                address.span.clone(),
                "the operator's listener is open to other machines, and it asks nobody for a password",
                "listen on 127.0.0.1, or see to it that only the operator reaches it",
            ));
        }
        report_overlap(reader, address, server);
    }
    Admin { listen: address.map(|at| at.value) }
}

fn socket_address(reader: &mut Reader<'_>, text: &Text) -> Option<At<SocketAddr>> {
    if let Ok(address) = text.value.parse() {
        return Some(At { value: address, span: text.span.clone() });
    }
    let port = text.value.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let host = text.value.rsplit_once(':').map_or("", |(host, _)| host);
    let better = match (host, port) {
        ("" | "*", Some(port)) => format!("write \"0.0.0.0:{port}\" for all interfaces, \"127.0.0.1:{port}\" for one"),
        ("localhost", Some(port)) => format!("write \"127.0.0.1:{port}\""),
        _ if text.value.parse::<IpAddr>().is_ok() => "add a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"".into(),
        _ => "write an IP address and a port, such as \"0.0.0.0:8080\" or \"[::]:8080\"".to_owned(),
    };
    let help = text.unless_referenced(|| better, "write an IP address and a port, such as \"0.0.0.0:8080\"");
    reader.report(Diagnostic::error(text.span.clone(), "not an address to listen on", help));
    None
}

fn report_overlap(reader: &mut Reader<'_>, address: &At<SocketAddr>, others: &[At<SocketAddr>]) {
    let Some(other) = others.iter().find(|other| overlap(address.value, other.value)) else { return };
    // A default stands nowhere: then the caret is at the other one.
    let (here, there) = if address.span.is_empty() { (other, address) } else { (address, other) };
    reader.report(
        Diagnostic::error(
            here.span.clone(),
            "two listeners want the same port",
            "give each listener a port of its own: `[server] listen` is 127.0.0.1:8080 and `[admin] listen` is \
             127.0.0.1:9090 where the file does not say otherwise",
        )
        .also(there.span.clone(), "the other one"),
    );
}

/// Whether the system would refuse to bind both.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let any_v6 = |ip: IpAddr| ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    // A port of 0 is chosen by the system. `[::]` takes IPv4 too.
    a.port() == b.port()
        && a.port() != 0
        && (a.ip() == b.ip()
            || any_v6(a.ip())
            || any_v6(b.ip())
            || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_overlap_when_the_system_would_say_so() {
        let cases = [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "[::1]:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("0.0.0.0:80", "[::]:80", true),
            ("[::1]:80", "127.0.0.1:80", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ];
        for (a, b, expected) in cases {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(overlap(a, b), expected, "{a} {b}");
            assert_eq!(overlap(b, a), expected, "{b} {a}");
        }
    }
}
