//! Exact money: prices as people write them, amounts as chains count them.
//!
//! A [`Price`] is a decimal (`"$0.01"`), an [`Amount`] is an integer of a token's atomic units, up to
//! 256 bits. The one becomes the other only through a token's decimals, and only when it fits exactly.
//! No floating point touches money.

use std::fmt;
use std::str::FromStr;

use alloy::primitives::U256;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An integer of a token's atomic units (for USDC with its 6 decimals, 10000 is one cent).
///
/// On the wire it is a string of decimal digits, as x402 writes amounts (v2 section 5.1.2, `amount`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(U256);

impl Amount {
    /// Nothing.
    pub const ZERO: Amount = Amount(U256::ZERO);

    /// The amount as alloy's integer, for signatures and chain calls.
    pub fn as_u256(self) -> U256 {
        self.0
    }

    /// Whether this is nothing at all.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The sum, or `None` past 256 bits.
    pub fn checked_add(self, other: Amount) -> Option<Amount> {
        self.0.checked_add(other.0).map(Amount)
    }

    /// The difference, or `None` below zero.
    pub fn checked_sub(self, other: Amount) -> Option<Amount> {
        self.0.checked_sub(other.0).map(Amount)
    }

    /// For a gauge or a graph, where the nearest double is good enough. Never for a decision.
    pub fn to_f64_lossy(self) -> f64 {
        f64::from(self.0)
    }

    /// The amount in whole tokens, exactly: `10000` at 6 decimals is `"0.01"`.
    pub fn to_units(self, decimals: u8) -> String {
        let digits = self.0.to_string();
        let decimals = usize::from(decimals);
        let padded = format!("{digits:0>width$}", width = decimals + 1);
        let (whole, fraction) = padded.split_at(padded.len().saturating_sub(decimals));
        match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        }
    }
}

impl From<U256> for Amount {
    fn from(value: U256) -> Self {
        Amount(value)
    }
}

impl From<u64> for Amount {
    fn from(value: u64) -> Self {
        Amount(U256::from(value))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a string is not an amount of atomic units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a whole number of atomic units in decimal digits, at most 2^256 - 1")]
pub struct AmountError;

impl FromStr for Amount {
    type Err = AmountError;

    /// Decimal digits only: no sign, no `0x`, no separators.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(AmountError);
        }
        U256::from_str_radix(text, 10).map(Amount).map_err(|_| AmountError)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A price in whole units of the money it is paid in (for stablecoins, dollars), as an exact decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Price {
    /// All digits without the point.
    digits: U256,
    /// How many of them stand behind the point.
    scale: u8,
}

/// Why a text is not a price, or a price not an amount of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// Not a decimal at all.
    #[error("not a price: write a decimal such as \"$0.01\" or \"0.01\"")]
    NotADecimal,
    /// Zero, which is spelled `free`.
    #[error("a price of zero: write \"free\" for a route that costs nothing")]
    Zero,
    /// More digits behind the point than the token has.
    #[error("{scale} digits behind the point, but the token has only {decimals} decimals")]
    TooFine {
        /// Digits behind the point that are needed.
        scale: u8,
        /// The token's decimals.
        decimals: u8,
    },
    /// More than 256 bits of atomic units.
    #[error("too large: an amount is at most 2^256 - 1 atomic units")]
    TooLarge,
}

impl Price {
    /// This price in the atomic units of a token with so many decimals, exactly.
    pub fn to_atomic(self, decimals: u8) -> Result<Amount, PriceError> {
        let Some(shift) = decimals.checked_sub(self.scale) else {
            return Err(PriceError::TooFine { scale: self.scale, decimals });
        };
        U256::from(10)
            .checked_pow(U256::from(shift))
            .and_then(|factor| self.digits.checked_mul(factor))
            .map(Amount)
            .ok_or(PriceError::TooLarge)
    }
}

impl FromStr for Price {
    type Err = PriceError;

    /// `"$0.01"`, `"0.01"` or `"1"`. Trailing zeros behind the point are not significant.
    fn from_str(text: &str) -> Result<Self, PriceError> {
        let text = text.strip_prefix('$').unwrap_or(text);
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(PriceError::NotADecimal),
            Some((whole, fraction)) => (whole, fraction.trim_end_matches('0')),
            None => (text, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return Err(PriceError::NotADecimal);
        }
        let scale = u8::try_from(fraction.len()).map_err(|_| PriceError::TooLarge)?;
        let digits = U256::from_str_radix(&format!("{whole}{fraction}"), 10).map_err(|_| PriceError::TooLarge)?;
        if digits.is_zero() {
            return Err(PriceError::Zero);
        }
        Ok(Price { digits, scale })
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Amount(self.digits).to_units(self.scale))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prices_become_atomic_units_or_say_why_not() {
        let cases: &[(&str, u8, Result<&str, PriceError>)] = &[
            ("$0.01", 6, Ok("10000")),
            ("0.01", 6, Ok("10000")),
            ("1", 6, Ok("1000000")),
            ("0.000001", 6, Ok("1")),
            ("0.10000000000", 6, Ok("100000")),
            ("0.0000001", 6, Err(PriceError::TooFine { scale: 7, decimals: 6 })),
            ("5", 0, Ok("5")),
            ("0", 6, Err(PriceError::Zero)),
            ("0.000", 6, Err(PriceError::Zero)),
            ("", 6, Err(PriceError::NotADecimal)),
            ("$", 6, Err(PriceError::NotADecimal)),
            (".5", 6, Err(PriceError::NotADecimal)),
            ("5.", 6, Err(PriceError::NotADecimal)),
            ("-1", 6, Err(PriceError::NotADecimal)),
            ("1e3", 6, Err(PriceError::NotADecimal)),
            ("1.2.3", 6, Err(PriceError::NotADecimal)),
            ("1,000", 6, Err(PriceError::NotADecimal)),
            ("$$1", 6, Err(PriceError::NotADecimal)),
            (&"9".repeat(80), 0, Err(PriceError::TooLarge)),
            (&"9".repeat(70), 18, Err(PriceError::TooLarge)),
            ("1", 255, Err(PriceError::TooLarge)),
        ];
        for (text, decimals, expected) in cases {
            let got = text.parse::<Price>().and_then(|price| price.to_atomic(*decimals));
            assert_eq!(got.map(|a| a.to_string()).as_deref(), expected.as_ref().copied(), "{text:?}");
        }
    }

    #[test]
    fn amounts_are_plain_decimal_digits() {
        for bad in ["", "+1", "-1", "0x10", "1_000", " 1", "1.0"] {
            assert_eq!(bad.parse::<Amount>(), Err(AmountError), "{bad:?}");
        }
        let max = U256::MAX.to_string();
        assert_eq!(max.parse::<Amount>().map(|a| a.to_string()), Ok(max.clone()));
        assert_eq!(format!("{max}0").parse::<Amount>(), Err(AmountError));
    }

    proptest! {
        #[test]
        fn an_amount_survives_being_written_in_units(atomic in any::<u64>(), decimals in 0u8..30) {
            let amount = Amount::from(atomic);
            let written = amount.to_units(decimals);
            if atomic == 0 {
                prop_assert_eq!(written, "0");
            } else {
                let price: Price = written.parse().unwrap();
                prop_assert_eq!(price.to_atomic(decimals), Ok(amount));
            }
        }

        #[test]
        fn no_text_makes_money_panic(text in ".{0,100}", decimals in any::<u8>()) {
            if let Ok(price) = text.parse::<Price>() {
                let _ = price.to_atomic(decimals);
                let _ = price.to_string();
            }
            let _ = text.parse::<Amount>();
        }
    }
}
