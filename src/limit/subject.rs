//! Who is counted, and for what.

use std::net::{IpAddr, Ipv4Addr};

/// What somebody is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope<'a> {
    /// Requests for the route of that name.
    Route(&'a str),
    /// Payments, on any route.
    Payments,
    /// Requests that pass a limit because they were paid for.
    Owed,
}

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject<'a> {
    /// A client, by its address.
    Client(ClientNet),
    /// A payer, by its proven address.
    Payer(&'a str),
    /// A payment, by its id.
    Payment(&'a str),
}

/// The addresses that are taken for one client: an IPv4 address, or an IPv6 network of 64 bits, for that is what one
/// subscriber has at least (RFC 6177). IPv4 that is mapped into IPv6 is IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientNet {
    /// One address.
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6(u64),
}

impl From<IpAddr> for ClientNet {
    fn from(address: IpAddr) -> ClientNet {
        match address.to_canonical() {
            IpAddr::V4(address) => ClientNet::V4(address),
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64;
                ClientNet::V6(u64::try_from(network).unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_counted_by_its_first_64_bits_and_mapped_ipv4_as_ipv4() {
        let net = |text: &str| ClientNet::from(text.parse::<IpAddr>().unwrap());
        let same = [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::ffff:c000:201", "192.0.2.1"),
        ];
        for (one, other) in same {
            assert_eq!(net(one), net(other), "{one} {other}");
        }
        let different = [
            ("2001:db8:1:2::1", "2001:db8:1:3::1"),
            ("192.0.2.1", "192.0.2.2"),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2"),
            ("::1", "0.0.0.1"),
        ];
        for (one, other) in different {
            assert_ne!(net(one), net(other), "{one} {other}");
        }
    }
}
