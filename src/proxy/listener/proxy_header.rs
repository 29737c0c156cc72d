//! The PROXY protocol, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt): a load balancer that passes
//! connections on says in front of each one whom it comes from.

use std::net::SocketAddr;

use ppp::{PartialResult, v1, v2};

use super::socket::Socket;

/// What version 1 begins with.
const V1_PREFIX: &[u8] = b"PROXY ";

/// The longest line of version 1 (section 2.1).
const V1_BYTES_MAX: usize = 107;

/// Bytes that a header may have: version 2 carries what else a balancer wants to say.
const HEADER_BYTES_MAX: usize = 4 * 1024;

/// A connection that had to begin with a header and did not.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHeader {
    /// It ended, or broke, before its header was complete.
    #[error("the connection ended in its PROXY header: {0}")]
    Cut(std::io::Error),
    /// What it begins with is none.
    #[error("the connection does not begin with a PROXY header")]
    Malformed,
}

/// Takes the header off a connection, and the client's address from it.
pub(super) async fn take(socket: &mut Socket) -> Result<(), NoHeader> {
    loop {
        match look(socket.unread()) {
            Seen::Part if socket.unread().len() < HEADER_BYTES_MAX => {
                let missing = HEADER_BYTES_MAX.saturating_sub(socket.unread().len());
                if socket.look_further(missing).await.map_err(NoHeader::Cut)? == 0 {
                    return Err(NoHeader::Cut(std::io::ErrorKind::UnexpectedEof.into()));
                }
            }
            Seen::Part | Seen::None => return Err(NoHeader::Malformed),
            Seen::Whole { bytes, source } => {
                socket.skip(bytes);
                if let Some(source) = source {
                    socket.set_peer(source);
                }
                return Ok(());
            }
        }
    }
}

/// What a connection begins with.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// A header, so long. Without a source it speaks for the balancer itself, as for its health checks.
    Whole { bytes: usize, source: Option<SocketAddr> },
    /// What may become one.
    Part,
    /// Nothing of the kind.
    None,
}

fn look(bytes: &[u8]) -> Seen {
    // As far as both go: a connection that differs is refused at once.
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(is, wanted)| is == wanted);
    if begins(V1_PREFIX) {
        // The parser takes a line that is cut in its last field for a wrong one.
        return match bytes.windows(2).take(V1_BYTES_MAX - 1).position(|end| end == b"\r\n") {
            Some(end) => bytes.get(..end.saturating_add(2)).map_or(Seen::None, version_1),
            None if bytes.len() < V1_BYTES_MAX => Seen::Part,
            None => Seen::None,
        };
    }
    if begins(v2::PROTOCOL_PREFIX) { version_2(bytes) } else { Seen::None }
}

fn version_1(line: &[u8]) -> Seen {
    let Ok(header) = v1::Header::try_from(line) else { return Seen::None };
    let source = match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(addresses) => Some(SocketAddr::new(addresses.source_address.into(), addresses.source_port)),
        v1::Addresses::Tcp6(addresses) => Some(SocketAddr::new(addresses.source_address.into(), addresses.source_port)),
    };
    Seen::Whole { bytes: line.len(), source }
}

fn version_2(bytes: &[u8]) -> Seen {
    let header = match v2::Header::try_from(bytes) {
        Ok(header) => header,
        Err(error) if error.is_incomplete() => return Seen::Part,
        Err(_) => return Seen::None,
    };
    let source = match (header.command, header.addresses) {
        (v2::Command::Local, _) => None,
        (v2::Command::Proxy, v2::Addresses::IPv4(addresses)) => {
            Some(SocketAddr::new(addresses.source_address.into(), addresses.source_port))
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(addresses)) => {
            Some(SocketAddr::new(addresses.source_address.into(), addresses.source_port))
        }
        (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
    };
    Seen::Whole { bytes: header.header.len(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn built(command: v2::Command, tail: &[u8]) -> Vec<u8> {
        let source: SocketAddr = "203.0.113.9:1234".parse().unwrap();
        let destination: SocketAddr = "192.0.2.1:443".parse().unwrap();
        let mut bytes =
            v2::Builder::with_addresses(v2::Version::Two | command, v2::Protocol::Stream, (source, destination))
                .build()
                .unwrap();
        bytes.extend_from_slice(tail);
        bytes
    }

    #[test]
    fn both_versions_are_read_and_what_follows_is_left() {
        let source = |address: &str| Some(address.parse().unwrap());
        let cases: [(Vec<u8>, usize, Option<SocketAddr>); 6] = [
            (b"PROXY TCP4 203.0.113.9 192.0.2.1 1234 443\r\nGET /".to_vec(), 43, source("203.0.113.9:1234")),
            (b"PROXY TCP6 2001:db8::9 2001:db8::1 1234 443\r\n".to_vec(), 45, source("[2001:db8::9]:1234")),
            (b"PROXY UNKNOWN\r\nGET".to_vec(), 15, None),
            (b"PROXY UNKNOWN anything at all\r\n".to_vec(), 31, None),
            (built(v2::Command::Proxy, b"GET /"), 28, source("203.0.113.9:1234")),
            (built(v2::Command::Local, b""), 28, None),
        ];
        for (bytes, length, source) in cases {
            assert_eq!(look(&bytes), Seen::Whole { bytes: length, source }, "{bytes:?}");
            for cut in 0..length {
                assert_eq!(look(&bytes[..cut]), Seen::Part, "{cut} bytes of {bytes:?}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_none_at_its_first_wrong_byte() {
        for bytes in [
            &b"G"[..],
            b"GET / HTTP/1.1\r\n",
            b"PRI * HTTP/2.0\r\n",
            b"\x16\x03\x01",
            b"\r\n\r\n\x00\r\nQUIX",
            b"PROXY TCP4 203.0.113.9 192.0.2.1 99999 443\r\n",
            b"PROXY TCP4 203.0.113 192.0.2.1 1 443\r\n",
            b"PROXY UDP4 203.0.113.9 192.0.2.1 1 443\r\n",
            b"PROXY TCP4 2001:db8::9 192.0.2.1 1 443\r\n",
            // Version 3, and a command that there is none of.
            b"\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x00",
            b"\r\n\r\n\x00\r\nQUIT\n\x2f\x11\x00\x00",
            // TCP over IPv4 in no bytes.
            b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x00",
        ] {
            assert_eq!(look(bytes), Seen::None, "{bytes:?}");
        }
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        assert_eq!(look(&long), Seen::None, "a line without an end");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..300), version in 0..3) {
            let head: &[u8] = match version { 0 => b"", 1 => b"PROXY ", _ => v2::PROTOCOL_PREFIX };
            let bytes = [head, &bytes].concat();
            if let Seen::Whole { bytes: length, .. } = look(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
