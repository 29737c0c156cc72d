//! `TransferWithAuthorization` (EIP-3009): its EIP-712 digest, signing it and recovering its signer.

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolStruct;
use secp256k1::Message;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};

use crate::x402::asset::Eip712Domain;
use crate::x402::payment::Authorization;

alloy::sol! {
    /// The struct that a payer signs (EIP-3009, "Specification"), field for field.
    struct TransferWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }
}

/// The token contract under whose EIP-712 domain an authorization is signed.
///
/// The domain's hash is the same for every payment, so it is computed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    domain_separator: B256,
}

impl Token {
    /// The token at this address of the chain with this EIP-155 id.
    pub fn new(chain_id: u64, address: Address, domain: &Eip712Domain) -> Token {
        let domain = alloy::sol_types::Eip712Domain {
            name: Some(domain.name.to_string().into()),
            version: Some(domain.version.to_string().into()),
            chain_id: Some(U256::from(chain_id)),
            verifying_contract: Some(address),
            salt: None,
        };
        Token { domain_separator: domain.separator() }
    }

    /// The hash of the EIP-712 domain, as the contract's `DOMAIN_SEPARATOR()` answers it.
    pub fn domain_separator(&self) -> B256 {
        self.domain_separator
    }
}

/// What a key signs: `keccak256(0x19 0x01 || domain separator || struct hash)` (EIP-712).
pub fn signing_hash(token: &Token, authorization: &Authorization) -> B256 {
    let message = TransferWithAuthorization {
        from: authorization.from,
        to: authorization.to,
        value: authorization.value.as_u256(),
        validAfter: U256::from(authorization.valid_after),
        validBefore: U256::from(authorization.valid_before),
        nonce: authorization.nonce,
    };
    let mut preimage = Vec::with_capacity(2 + 32 + 32);
    preimage.extend_from_slice(&[0x19, 0x01]);
    preimage.extend_from_slice(token.domain_separator.as_slice());
    preimage.extend_from_slice(message.eip712_hash_struct().as_slice());
    keccak256(preimage)
}

/// Who signed, for a signature of 65 bytes (`r || s || v`, `v` 27/28 or 0/1); `None` when it is nobody's.
///
/// A high `s` is nobody's: the mirror image of a signature recovers to the same key, but the token's contract
/// refuses it (EIP-2; OpenZeppelin's `ECDSA` and USDC's `ECRecover` check it), so it could never be settled.
pub fn recover(token: &Token, authorization: &Authorization, signature: &[u8]) -> Option<Address> {
    let (compact, v) = signature.split_first_chunk::<64>()?;
    let parity = match v {
        [0 | 27] => RecoveryId::Zero,
        [1 | 28] => RecoveryId::One,
        _ => return None,
    };
    let signature = RecoverableSignature::from_compact(compact, parity).ok()?;
    let (standard, mut low) = (signature.to_standard(), signature.to_standard());
    low.normalize_s();
    if low != standard {
        return None;
    }
    let key = signature.recover(Message::from_digest(signing_hash(token, authorization).0)).ok()?;
    // An address is of the key's two coordinates, without the byte that says that it has both.
    let [_, coordinates @ ..] = key.serialize_uncompressed();
    let signer = Address::from_raw_public_key(&coordinates);
    (!signer.is_zero()).then_some(signer)
}

/// Signs an authorization with a key: 65 bytes, low `s`, `v` 27 or 28.
pub fn sign(
    token: &Token,
    authorization: &Authorization,
    key: &PrivateKeySigner,
) -> Result<Bytes, alloy::signers::Error> {
    let signature = key.sign_hash_sync(&signing_hash(token, authorization))?;
    Ok(Bytes::from(signature.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Amount;
    use alloy::primitives::{address, b256, uint};
    use proptest::prelude::*;

    /// The order of secp256k1's group.
    const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

    fn usdc_on_base_sepolia() -> Token {
        let domain = Eip712Domain { name: "USDC".into(), version: "2".into() };
        Token::new(84532, address!("036CbD53842c5426634e7929541eC2318f3dCF7e"), &domain)
    }

    fn authorization() -> impl Strategy<Value = Authorization> {
        (any::<[u8; 20]>(), any::<[u8; 20]>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<[u8; 32]>()).prop_map(
            |(from, to, value, valid_after, valid_before, nonce)| Authorization {
                from: from.into(),
                to: to.into(),
                value: Amount::from(value),
                valid_after,
                valid_before,
                nonce: nonce.into(),
            },
        )
    }

    #[test]
    fn the_type_is_eip_3009s() {
        // TRANSFER_WITH_AUTHORIZATION_TYPEHASH of the EIP's reference contract and of USDC.
        let expected = b256!("7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267");
        assert_eq!(keccak256(TransferWithAuthorization::eip712_encode_type().as_bytes()), expected);
    }

    #[test]
    fn the_domain_separator_is_the_contracts() {
        // What DOMAIN_SEPARATOR() answers for USDC on Ethereum.
        let domain = Eip712Domain { name: "USD Coin".into(), version: "2".into() };
        let token = Token::new(1, address!("A0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"), &domain);
        let expected = b256!("06c37168a7db5138defc7866392bb87a741f9b3d104deb5094588ce041cae335");
        assert_eq!(token.domain_separator(), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn what_a_key_signs_is_recovered_to_it_and_to_nobody_else(authorization in authorization(), bit in 0usize..512) {
            let key = PrivateKeySigner::random();
            let token = usdc_on_base_sepolia();
            let signature = sign(&token, &authorization, &key).unwrap();
            prop_assert_eq!(signature.len(), 65);
            prop_assert_eq!(recover(&token, &authorization, &signature), Some(key.address()));

            // v as 0/1 is the same signature.
            let mut parity = signature.to_vec();
            parity[64] -= 27;
            prop_assert_eq!(recover(&token, &authorization, &parity), Some(key.address()));

            // A flipped bit anywhere in r or s is somebody else's or nobody's.
            let mut flipped = signature.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(recover(&token, &authorization, &flipped), Some(key.address()));

            // So is another domain.
            let domain = Eip712Domain { name: "USD Coin".into(), version: "2".into() };
            let other = Token::new(84532, address!("036CbD53842c5426634e7929541eC2318f3dCF7e"), &domain);
            prop_assert_ne!(recover(&other, &authorization, &signature), Some(key.address()));

            // The mirror image is a valid signature of the same key, with a high s.
            let mut mirrored = signature.to_vec();
            let s = U256::from_be_slice(&signature[32..64]);
            mirrored[32..64].copy_from_slice(&(ORDER - s).to_be_bytes::<32>());
            mirrored[64] = if signature[64] == 27 { 28 } else { 27 };
            prop_assert_eq!(recover(&token, &authorization, &mirrored), None);
        }

        /// Two libraries that know nothing of each other agree on whose a signature is, whatever its bytes.
        #[test]
        fn another_library_recovers_the_same(
            authorization in authorization(),
            random in any::<[u8; 64]>(),
            edge in prop::option::of((0usize..2, prop::sample::select(vec![U256::ZERO, uint!(1_U256), ORDER / uint!(2_U256), ORDER - uint!(1_U256), ORDER]))),
            odd in any::<bool>(),
        ) {
            let token = usdc_on_base_sepolia();
            let mut bytes = random.to_vec();
            if let Some((at, value)) = edge {
                bytes[at * 32..][..32].copy_from_slice(&value.to_be_bytes::<32>());
            }
            bytes.push(27 + u8::from(odd));
            let (r, s) = (U256::from_be_slice(&bytes[..32]), U256::from_be_slice(&bytes[32..64]));
            let other = alloy::primitives::Signature::new(r, s, odd);
            let low = s <= ORDER / uint!(2_U256);
            let expected = other.recover_address_from_prehash(&signing_hash(&token, &authorization)).ok().filter(|_| low);
            prop_assert_eq!(recover(&token, &authorization, &bytes), expected);
        }

        #[test]
        fn every_field_is_signed(authorization in authorization()) {
            let token = usdc_on_base_sepolia();
            let hash = signing_hash(&token, &authorization);
            let changes: [fn(&mut Authorization); 6] = [
                |a| a.from.0[0] ^= 1,
                |a| a.to.0[19] ^= 1,
                |a| a.value = a.value.checked_add(Amount::from(1)).unwrap(),
                |a| a.valid_after ^= 1,
                |a| a.valid_before ^= 1 << 63,
                |a| a.nonce.0[31] ^= 1,
            ];
            for change in changes {
                let mut changed = authorization.clone();
                change(&mut changed);
                prop_assert_ne!(signing_hash(&token, &changed), hash);
            }
        }
    }

    #[test]
    fn signatures_of_the_wrong_shape_are_nobodys() {
        let token = usdc_on_base_sepolia();
        let authorization = Authorization {
            from: Address::ZERO,
            to: Address::ZERO,
            value: Amount::from(1000),
            valid_after: 0,
            valid_before: 1,
            nonce: B256::ZERO,
        };
        let good = sign(&token, &authorization, &PrivateKeySigner::random()).unwrap().to_vec();
        assert!(recover(&token, &authorization, &good).is_some());
        for length in (0..=64).chain([66, 130]) {
            let mut wrong = good.clone();
            wrong.resize(length, 0);
            assert_eq!(recover(&token, &authorization, &wrong), None, "{length} bytes");
        }
        for v in (0..=255u8).filter(|v| ![0, 1, 27, 28].contains(v)) {
            let mut wrong = good.clone();
            wrong[64] = v;
            assert_eq!(recover(&token, &authorization, &wrong), None, "v = {v}");
        }
        for (r, s) in [(0, 1), (1, 0), (0, 0)] {
            let mut wrong = vec![0; 65];
            (wrong[31], wrong[63], wrong[64]) = (r, s, 27);
            assert_eq!(recover(&token, &authorization, &wrong), None, "r = {r}, s = {s}");
        }
        assert_eq!(recover(&token, &authorization, &[0xff; 65]), None);
    }
}
