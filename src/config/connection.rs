//! The keys of `[server]` that bound a connection: how many there may be, how long each may take, and which ones say
//! themselves whom they come from.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::peers;
use super::section::{Reader, Section};

/// What a connection of a client may take. A reload changes it for connections that are open, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connections {
    /// How many there may be at once, over all listeners; a further one is closed at once.
    pub max: usize,
    /// How long a request's head may take, from its first byte to its last; also what stands before the first
    /// request: a PROXY header and a TLS handshake, from the connection on.
    pub header_timeout: Duration,
    /// How long a connection may be open without a request.
    pub idle_timeout: Duration,
    /// How long a request's body may stand still.
    pub body_timeout: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub send_timeout: Duration,
    /// Whose connections begin with a PROXY header, and have to.
    pub proxy_protocol: Vec<IpNet>,
}

impl Default for Connections {
    fn default() -> Connections {
        Connections {
            max: 10_000,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(60),
            proxy_protocol: Vec::new(),
        }
    }
}

impl Connections {
    /// Whether a connection from this address begins with a PROXY header.
    pub fn begins_with_proxy_header(&self, peer: IpAddr) -> bool {
        // A socket for both families sees IPv4 as `::ffff:…`.
        let peer = peer.to_canonical();
        self.proxy_protocol.iter().any(|network| network.contains(&peer))
    }
}

const MAX: RangeInclusive<u64> = 1..=1_000_000;
/// Below it, a timer would cost more than what it guards.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 60 * 60);

const BALANCERS: peers::Words = peers::Words {
    help: "write the addresses or networks of your load balancers, such as [\"10.0.0.0/8\", \"192.0.2.7\"]",
    everybody: "everybody's PROXY header is believed: any client can choose the address that it has",
    instead: "name the networks of your own load balancers",
};

/// Reads them.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> Connections {
    let default = Connections::default();
    let mut timeout = |key, default| section.duration(reader, key, TIMEOUT).map_or(default, |at| at.value);
    let header_timeout = timeout("header_timeout", default.header_timeout);
    let idle_timeout = timeout("idle_timeout", default.idle_timeout);
    let body_timeout = timeout("body_timeout", default.body_timeout);
    let send_timeout = timeout("send_timeout", default.send_timeout);
    let max = section.whole(reader, "connections", MAX).and_then(|at| usize::try_from(at.value).ok());
    Connections {
        max: max.unwrap_or(default.max),
        header_timeout,
        idle_timeout,
        body_timeout,
        send_timeout,
        proxy_protocol: peers::read(reader, section, "proxy_protocol", &BALANCERS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_balancer_is_known_by_either_form_of_its_address() {
        let connections = |networks: &[&str]| Connections {
            proxy_protocol: networks.iter().map(|network| network.parse().unwrap()).collect(),
            ..Connections::default()
        };
        for (networks, peer, begins) in [
            (&["10.0.0.0/8"][..], "10.1.2.3", true),
            (&["10.0.0.0/8"], "::ffff:10.1.2.3", true),
            (&["10.0.0.0/8"], "11.1.2.3", false),
            (&["2001:db8::/32", "192.0.2.7/32"], "2001:db8::1", true),
            (&[], "127.0.0.1", false),
        ] {
            assert_eq!(connections(networks).begins_with_proxy_header(peer.parse().unwrap()), begins, "{peer}");
        }
    }
}
