//! What makes a Solana transaction this one: its message, without the signatures before it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Bytes of one signature.
const SIGNATURE_BYTES: usize = 64;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// The message of a transaction in base64: what follows the signatures and their number (a compact-u16). The payer
/// signs it whole, and a network takes it once; `None` where there is none.
pub(super) fn message(transaction: &str) -> Option<Vec<u8>> {
    let engine = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    let bytes = engine.decode(transaction).ok()?;
    let (signatures, rest) = compact_u16(&bytes)?;
    let message = rest.get(signatures.checked_mul(SIGNATURE_BYTES)?..)?;
    (signatures > 0 && !message.is_empty()).then(|| message.to_vec())
}

/// A number of at most three bytes of seven bits each, least first.
fn compact_u16(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    let mut rest = bytes;
    for shift in [0, 7, 14] {
        let (byte, after) = rest.split_first()?;
        value |= usize::from(byte & 0x7f) << shift;
        rest = after;
        if byte & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    fn transaction(signatures: &[[u8; 64]], message: &[u8]) -> String {
        let mut bytes = vec![u8::try_from(signatures.len()).unwrap()];
        bytes.extend(signatures.concat());
        bytes.extend(message);
        STANDARD.encode(bytes)
    }

    #[test]
    fn signatures_do_not_matter_and_the_message_does() {
        let unsigned = message(&transaction(&[[0; 64], [0; 64]], b"pay"));
        assert_eq!(unsigned.as_deref(), Some(&b"pay"[..]));
        assert_eq!(message(&transaction(&[[7; 64], [0; 64]], b"pay")), unsigned);
        assert_ne!(message(&transaction(&[[0; 64], [0; 64]], b"pax")), unsigned);
        assert_eq!(message(transaction(&[[0; 64]], b"pay").trim_end_matches('=')).as_deref(), Some(&b"pay"[..]));
    }

    #[test]
    fn what_is_no_transaction_has_no_message() {
        let cut = STANDARD.encode([1; 64]);
        for text in ["", "AQ==", "!", "gICA", &cut, &transaction(&[], b"pay"), &transaction(&[[0; 64]], b"")] {
            assert_eq!(message(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = message(&text);
            let _ = message(&STANDARD.encode(bytes));
        }
    }
}
