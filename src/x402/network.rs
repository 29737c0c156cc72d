//! Networks by their CAIP-2 name, with the aliases that x402 v1 and people use.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A blockchain, by its CAIP-2 name (`eip155:84532`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(Arc<str>);

/// A network that has more names than one.
struct Known {
    alias: &'static str,
    caip2: &'static str,
    kind: Kind,
    v1: V1Reach,
}

/// Which v1 clients know a network's alias as its v1 name. One unknown name makes a client refuse a whole challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum V1Reach {
    /// None: it has no v1 name, or only later SDKs know it, which prefer v2 when they are offered both.
    Nobody,
    /// The TypeScript ones (npm `x402` 0.4 to 1.2, a growing list), but not the Python one.
    Newer,
    /// All, down to Python's `x402` 1.0.0, which knows four.
    Everyone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mainnet,
    Testnet,
}

const fn known(alias: &'static str, caip2: &'static str, kind: Kind, v1: V1Reach) -> Known {
    Known { alias, caip2, kind, v1 }
}

/// v1's names as its clients' sources list them, and aliases for people only.
#[rustfmt::skip]
const KNOWN: &[Known] = &[
    known("base",                 "eip155:8453",       Kind::Mainnet, V1Reach::Everyone),
    known("base-sepolia",         "eip155:84532",      Kind::Testnet, V1Reach::Everyone),
    known("avalanche",            "eip155:43114",      Kind::Mainnet, V1Reach::Everyone),
    known("avalanche-fuji",       "eip155:43113",      Kind::Testnet, V1Reach::Everyone),
    known("polygon",              "eip155:137",        Kind::Mainnet, V1Reach::Newer),
    known("polygon-amoy",         "eip155:80002",      Kind::Testnet, V1Reach::Newer),
    known("sei",                  "eip155:1329",       Kind::Mainnet, V1Reach::Newer),
    known("sei-testnet",          "eip155:1328",       Kind::Testnet, V1Reach::Newer),
    known("iotex",                "eip155:4689",       Kind::Mainnet, V1Reach::Newer),
    known("peaq",                 "eip155:3338",       Kind::Mainnet, V1Reach::Newer),
    known("abstract",             "eip155:2741",       Kind::Mainnet, V1Reach::Newer),
    known("abstract-testnet",     "eip155:11124",      Kind::Testnet, V1Reach::Newer),
    known("story",                "eip155:1514",       Kind::Mainnet, V1Reach::Newer),
    known("educhain",             "eip155:41923",      Kind::Mainnet, V1Reach::Newer),
    known("skale-base-sepolia",   "eip155:324705682",  Kind::Testnet, V1Reach::Newer),
    known("monad",                "eip155:143",        Kind::Mainnet, V1Reach::Nobody),
    known("megaeth",              "eip155:4326",       Kind::Mainnet, V1Reach::Nobody),
    known("celo",                 "eip155:42220",      Kind::Mainnet, V1Reach::Nobody),
    known("ethereum",             "eip155:1",          Kind::Mainnet, V1Reach::Nobody),
    known("arbitrum",             "eip155:42161",      Kind::Mainnet, V1Reach::Nobody),
    known("arbitrum-sepolia",     "eip155:421614",     Kind::Testnet, V1Reach::Nobody),
    known("solana",               "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", Kind::Mainnet, V1Reach::Newer),
    known("solana-devnet",        "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", Kind::Testnet, V1Reach::Newer),
];

/// Why a text names no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a network: write a CAIP-2 name such as \"eip155:8453\" or an alias such as \"base\"")]
pub struct NetworkError;

impl Network {
    /// Reads a CAIP-2 name or an alias.
    pub fn parse(text: &str) -> Result<Network, NetworkError> {
        if let Some(known) = KNOWN.iter().find(|known| known.alias == text) {
            return Ok(Network(known.caip2.into()));
        }
        let (namespace, reference) = text.split_once(':').ok_or(NetworkError)?;
        let well_formed = match namespace {
            // Canonical decimal only, so that one chain has one name.
            "eip155" => reference.parse::<u64>().is_ok_and(|id| id > 0 && id.to_string() == reference),
            "solana" => reference.len() == 32 && reference.bytes().all(|b| b.is_ascii_alphanumeric()),
            _ => false,
        };
        if well_formed { Ok(Network(text.into())) } else { Err(NetworkError) }
    }

    /// The CAIP-2 name.
    pub fn caip2(&self) -> &str {
        &self.0
    }

    /// The EIP-155 chain id, where it is an EVM chain.
    pub fn evm_chain_id(&self) -> Option<u64> {
        self.0.strip_prefix("eip155:")?.parse().ok()
    }

    /// The name by which at least some v1 clients know it; `None` keeps it out of a v1 body.
    pub fn v1_name(&self) -> Option<&'static str> {
        self.known().filter(|known| known.v1 > V1Reach::Nobody).map(|known| known.alias)
    }

    /// Which v1 clients know that name.
    pub fn v1_reach(&self) -> V1Reach {
        self.known().map_or(V1Reach::Nobody, |known| known.v1)
    }

    /// The name in a client's dialect: CAIP-2 for v2, the short name for v1 (CAIP-2 again where it has none).
    pub fn name_in(&self, dialect: super::Dialect) -> &str {
        match dialect {
            super::Dialect::V1 => self.v1_name().unwrap_or(&self.0),
            super::Dialect::V2 => &self.0,
        }
    }

    /// The short name for people, else the CAIP-2 name.
    pub fn alias(&self) -> &str {
        self.known().map_or(&self.0, |known| known.alias)
    }

    /// Whether money on it is worth nothing. Unknown networks count as real.
    pub fn is_testnet(&self) -> bool {
        self.known().is_some_and(|known| known.kind == Kind::Testnet)
    }

    /// Whether it is Solana, whose addresses and payloads are of another kind than Ethereum's.
    pub fn is_solana(&self) -> bool {
        self.0.starts_with("solana:")
    }

    /// Every alias, for messages that say what would have been right.
    pub fn aliases() -> impl Iterator<Item = &'static str> {
        KNOWN.iter().map(|known| known.alias)
    }

    fn known(&self) -> Option<&'static Known> {
        KNOWN.iter().find(|known| known.caip2 == &*self.0)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x402::Dialect;

    #[test]
    fn every_alias_is_a_network_and_names_it_back() {
        for known in KNOWN {
            let network = Network::parse(known.alias).unwrap();
            assert_eq!(network.caip2(), known.caip2);
            assert_eq!(Network::parse(known.caip2).as_ref(), Ok(&network));
            assert_eq!(network.alias(), known.alias);
            assert_eq!(network.name_in(Dialect::V2), known.caip2);
            assert_eq!(network.is_solana(), network.evm_chain_id().is_none(), "{network}");
            match network.v1_reach() {
                V1Reach::Nobody => assert_eq!(network.v1_name(), None),
                V1Reach::Newer | V1Reach::Everyone => assert_eq!(network.v1_name(), Some(known.alias)),
            }
        }
    }

    #[test]
    fn every_v1_client_knows_four_networks() {
        // `SupportedNetworks` of PyPI's x402 1.0.0, the shortest list of all.
        let everyones: Vec<_> = KNOWN.iter().filter(|known| known.v1 == V1Reach::Everyone).map(|k| k.alias).collect();
        assert_eq!(everyones, ["base", "base-sepolia", "avalanche", "avalanche-fuji"]);
    }

    #[test]
    fn what_names_no_network_is_refused() {
        for bad in [
            "",
            "Base",
            "eip155",
            "eip155:",
            "eip155:0",
            "eip155:08453",
            "eip155:+1",
            "eip155:1 ",
            "eip155:0x1",
            "eip155:18446744073709551616",
            "solana:short",
            "bip122:000000000019d6689c085ae165831e93",
        ] {
            assert_eq!(Network::parse(bad), Err(NetworkError), "{bad:?}");
        }
        assert_eq!(Network::parse("eip155:18446744073709551615").unwrap().evm_chain_id(), Some(u64::MAX));
    }
}
