//! What a token's address means to people: its symbol and its decimals.

use crate::config::{Charge, Config};
use crate::money::Amount;
use crate::x402::{Asset, Network};

/// The tokens of a config's offers, and behind them those that Farebox knows.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    configured: Vec<(Network, Asset)>,
}

impl Tokens {
    /// Every token that a route of the config asks for.
    pub(super) fn of(config: &Config) -> Tokens {
        let mut configured: Vec<(Network, Asset)> = Vec::new();
        for route in &config.routes {
            match &route.charge {
                Charge::Free => {}
                Charge::Priced(terms) => {
                    for offer in &terms.offers {
                        let token = (offer.network.clone(), offer.asset.clone());
                        if !configured.contains(&token) {
                            configured.push(token);
                        }
                    }
                }
            }
        }
        Tokens { configured }
    }

    /// `0.01 USDC`; atomic units and the address of a token that nobody knows.
    pub(super) fn amount(&self, network: &Network, address: &str, amount: Amount) -> String {
        match self.find(network, address) {
            Some(asset) => format!("{} {}", amount.to_units(asset.decimals), asset.symbol),
            None => format!("{amount} atomic {address}"),
        }
    }

    fn find(&self, network: &Network, address: &str) -> Option<Asset> {
        let same = |asset: &Asset| match network.evm_chain_id() {
            Some(_) => asset.address.eq_ignore_ascii_case(address),
            None => &*asset.address == address,
        };
        let configured = self.configured.iter().filter(|(on, _)| on == network).map(|(_, asset)| asset.clone());
        let known = Asset::known_symbols(network).filter_map(|symbol| Asset::known(network, symbol));
        configured.chain(known).find(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_in_units_where_the_token_is_known() {
        let base = Network::parse("base").unwrap();
        let solana = Network::parse("solana").unwrap();
        let own = Asset { address: "0xAA".into(), decimals: 2, symbol: "EURX".into(), eip712: None };
        let tokens = Tokens { configured: vec![(base.clone(), own)] };
        let cases = [
            (&base, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "0.0123 USDC"),
            (&base, "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913", "0.0123 USDC"),
            (&base, "0xaa", "123 EURX"),
            (&base, "0xbb", "12300 atomic 0xbb"),
            (&solana, "0xaa", "12300 atomic 0xaa"),
            (&solana, "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", "0.0123 USDC"),
            (
                &solana,
                "epjfwdd5aufqssqem2qn1xzybapc8g4weggkzwytdt1v",
                "12300 atomic epjfwdd5aufqssqem2qn1xzybapc8g4weggkzwytdt1v",
            ),
        ];
        for (network, address, expected) in cases {
            assert_eq!(tokens.amount(network, address, Amount::from(12_300)), expected);
        }
    }
}
