//! Tokens that can be asked for, and the stablecoins that Farebox knows by symbol.

use std::sync::Arc;

use super::Network;

/// The EIP-712 domain's name and version of a token's contract.
///
/// The wrong name is a bad signature: USDC is `USDC` on Base Sepolia and `USD Coin` on Base.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Eip712Domain {
    /// `name` of the domain.
    pub name: Arc<str>,
    /// `version` of the domain.
    pub version: Arc<str>,
}

/// A token on a network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asset {
    /// The contract's address with its EIP-55 checksum (on Solana, the mint).
    pub address: Arc<str>,
    /// How many decimal places one whole token has in atomic units.
    pub decimals: u8,
    /// For people: `USDC`, or the address again when it has no better name.
    pub symbol: Arc<str>,
    /// For EIP-3009; `None` on Solana.
    pub eip712: Option<Eip712Domain>,
}

struct Known {
    network: &'static str,
    symbol: &'static str,
    address: &'static str,
    /// EIP-712 name and version.
    domain: Option<(&'static str, &'static str)>,
}

impl Known {
    fn on(network: &Network) -> impl Iterator<Item = &'static Known> {
        KNOWN.iter().filter(move |known| known.network == network.caip2())
    }

    fn asset(&self) -> Asset {
        Asset {
            address: self.address.into(),
            decimals: 6,
            symbol: self.symbol.into(),
            eip712: self.domain.map(|(name, version)| Eip712Domain { name: name.into(), version: version.into() }),
        }
    }
}

const fn usdc(network: &'static str, address: &'static str, name: &'static str) -> Known {
    Known { network, symbol: "USDC", address, domain: Some((name, "2")) }
}

const fn solana_usdc(network: &'static str, mint: &'static str) -> Known {
    Known { network, symbol: "USDC", address: mint, domain: None }
}

/// Circle's USDC deployments. All have 6 decimals.
const KNOWN: &[Known] = &[
    usdc("eip155:8453", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USD Coin"),
    usdc("eip155:84532", "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC"),
    usdc("eip155:1", "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USD Coin"),
    usdc("eip155:43114", "0xB97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E", "USD Coin"),
    usdc("eip155:43113", "0x5425890298aed601595a70AB815c96711a31Bc65", "USD Coin"),
    usdc("eip155:137", "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359", "USD Coin"),
    usdc("eip155:42161", "0xaf88d065e77c8cC2239327C5EDb3A432268e5831", "USD Coin"),
    usdc("eip155:421614", "0x75faf114eafb1BDbe2F0316DF893fd58CE46AA4d", "USD Coin"),
    usdc("eip155:143", "0x754704Bc059F8C67012fEd69BC8A327a5aafb603", "USDC"),
    solana_usdc("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"),
    solana_usdc("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"),
];

impl Asset {
    /// The stablecoin of that symbol on that network, where Farebox knows it.
    pub fn known(network: &Network, symbol: &str) -> Option<Asset> {
        Known::on(network).find(|known| known.symbol == symbol).map(Known::asset)
    }

    /// The stablecoin at that address (in any case) of an EVM network, where Farebox knows it.
    pub fn at(network: &Network, address: &str) -> Option<Asset> {
        network.evm_chain_id()?;
        Known::on(network).find(|known| known.address.eq_ignore_ascii_case(address)).map(Known::asset)
    }

    /// The symbols that are known on a network, for messages that say what would have been right.
    pub fn known_symbols(network: &Network) -> impl Iterator<Item = &'static str> + '_ {
        Known::on(network).map(|known| known.symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::Address;

    #[test]
    fn every_known_asset_is_found_and_well_formed() {
        for known in KNOWN {
            let network = Network::parse(known.network).unwrap();
            let asset = Asset::known(&network, known.symbol).unwrap();
            assert!(Asset::known_symbols(&network).any(|symbol| symbol == known.symbol));
            if network.is_solana() {
                assert_eq!((asset.eip712.clone(), Asset::at(&network, &asset.address)), (None, None));
            } else {
                assert!(asset.eip712.is_some());
                assert!(Address::parse_checksummed(&*asset.address, None).is_ok(), "{}", asset.address);
                assert_eq!(Asset::at(&network, &asset.address.to_ascii_lowercase()), Some(asset));
            }
        }
        let base = Network::parse("base").unwrap();
        assert_eq!(Asset::known(&base, "DAI"), None);
        assert_eq!(Asset::at(&base, "0x036CbD53842c5426634e7929541eC2318f3dCF7e"), None, "another network's");
    }
}
