//! Addresses on chains, checked for their shape before anybody pays to one.

use std::str::FromStr;
use std::sync::Arc;

use alloy::primitives::Address;

use super::diagnostic::Diagnostic;
use super::section::{Reader, Text};
use crate::x402::Network;

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wrong {
    /// Not `0x` and 40 hex digits.
    NotEvm,
    /// Mixed case, and not the case of its EIP-55 checksum; holds what that would be.
    Checksum(String),
    /// The zero address: money sent there is gone.
    Zero,
    /// Not base58 of 32 bytes.
    NotSolana,
}

/// Reads an address on a network; EVM addresses come out with their EIP-55 checksum.
pub(super) fn read(reader: &mut Reader<'_>, text: &Text, network: &Network) -> Option<Arc<str>> {
    let parsed = match network.evm_chain_id() {
        Some(_) => evm(&text.value),
        None => solana(&text.value),
    };
    report(reader, text, parsed)
}

/// Judges an address whose network is wrong by what it looks like, so that both are reported at once.
pub(super) fn judge_alone(reader: &mut Reader<'_>, text: &Text) {
    if text.value.starts_with("0x") {
        let _ = report(reader, text, evm(&text.value));
    }
}

fn report(reader: &mut Reader<'_>, text: &Text, parsed: Result<String, Wrong>) -> Option<Arc<str>> {
    let (title, help) = match parsed {
        Ok(address) => return Some(address.into()),
        Err(Wrong::NotEvm) => ("not an address", "an address is `0x` and 40 hex digits".to_owned()),
        Err(Wrong::Checksum(right)) => {
            let checked = "compare it with its source: a letter's case is wrong, and perhaps more than that";
            let said = || format!("{checked}; if every digit is right it is written {right}");
            ("the address does not have its checksum (EIP-55)", text.unless_referenced(said, checked))
        }
        Err(Wrong::Zero) => ("the zero address belongs to nobody", "write an address that you own".to_owned()),
        Err(Wrong::NotSolana) => {
            ("not a Solana address", "a Solana address is 32 bytes in base58: 32 to 44 letters and digits".to_owned())
        }
    };
    reader.report(Diagnostic::error(text.span.clone(), title, help));
    None
}

fn evm(text: &str) -> Result<String, Wrong> {
    let digits = text.strip_prefix("0x").ok_or(Wrong::NotEvm)?;
    if digits.len() != 40 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Wrong::NotEvm);
    }
    let address = Address::from_str(text).map_err(|_| Wrong::NotEvm)?;
    if address.is_zero() {
        return Err(Wrong::Zero);
    }
    let right = address.to_checksum(None);
    let one_case =
        !digits.bytes().any(|byte| byte.is_ascii_lowercase()) || !digits.bytes().any(|byte| byte.is_ascii_uppercase());
    if one_case || text == right { Ok(right) } else { Err(Wrong::Checksum(right)) }
}

fn solana(text: &str) -> Result<String, Wrong> {
    if !(32..=44).contains(&text.len()) {
        return Err(Wrong::NotSolana);
    }
    let bytes = base58_bytes(text).ok_or(Wrong::NotSolana)?;
    match bytes.len() {
        32 if bytes.iter().all(|byte| *byte == 0) => Err(Wrong::Zero),
        32 => Ok(text.to_owned()),
        _ => Err(Wrong::NotSolana),
    }
}

/// Decodes base58; the cost is the square of the length, which the caller bounds.
fn base58_bytes(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    // Least significant byte first.
    let mut number: Vec<u8> = Vec::new();
    for letter in text.bytes() {
        let mut carry = ALPHABET.iter().position(|known| *known == letter)?;
        for byte in &mut number {
            carry = usize::from(*byte).checked_mul(58)?.checked_add(carry)?;
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        if carry > 0 {
            number.push((carry & 0xff) as u8);
        }
    }
    // Each leading `1` is a zero byte that the number itself does not have.
    number.extend(text.bytes().take_while(|letter| *letter == b'1').map(|_| 0));
    number.reverse();
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RIGHT: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";

    #[test]
    fn evm_addresses_are_read_or_refused() {
        let checksum = || Err(Wrong::Checksum(RIGHT.to_owned()));
        let cases = [
            // EIP-55's own examples.
            (RIGHT, Ok(RIGHT.to_owned())),
            ("0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", Ok(RIGHT.to_owned())),
            ("0x5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED", Ok(RIGHT.to_owned())),
            ("0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", checksum()),
            ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed", checksum()),
            ("0x0000000000000000000000000000000000000000", Err(Wrong::Zero)),
            ("5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", Err(Wrong::NotEvm)),
            ("0X5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", Err(Wrong::NotEvm)),
            ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe", Err(Wrong::NotEvm)),
            ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAedd", Err(Wrong::NotEvm)),
            ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg", Err(Wrong::NotEvm)),
            ("vitalik.eth", Err(Wrong::NotEvm)),
            ("", Err(Wrong::NotEvm)),
        ];
        for (text, expected) in cases {
            assert_eq!(evm(text), expected, "{text:?}");
        }
    }

    #[test]
    fn solana_addresses_are_read_or_refused() {
        let mint = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
        assert_eq!(solana(mint), Ok(mint.to_owned()));
        assert_eq!(solana("So11111111111111111111111111111111111111112").map(|_| ()), Ok(()));
        // The system program: 32 zero bytes.
        assert_eq!(solana("11111111111111111111111111111111"), Err(Wrong::Zero));
        for bad in [
            "",
            "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZw",
            "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1vv",
            "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt10",
            RIGHT,
        ] {
            assert_eq!(solana(bad), Err(Wrong::NotSolana), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_address_is_read_in_three_ways(bytes in any::<[u8; 20]>().prop_filter("zero", |b| *b != [0; 20])) {
            let right = Address::from(bytes).to_checksum(None);
            let upper = format!("0x{}", right.trim_start_matches("0x").to_uppercase());
            for text in [right.clone(), right.to_lowercase(), upper] {
                prop_assert_eq!(evm(&text), Ok(right.clone()));
            }
        }
    }
}
