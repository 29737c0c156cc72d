//! What the headers of payments that have opened a window were read as, so that the same header is not read again.
//!
//! To read a payment, its base64, its JSON and its digest, costs several times what it costs to hash its header. The same
//! bytes are always the same payment: what is remembered of them says which one, and never that it opens anything.

use std::fmt;

use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::x402::{Dialect, PaymentId};

/// The bytes of a payment's header, and which header it was: their SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HeaderDigest([u8; 32]);

impl HeaderDigest {
    /// Of a header of that dialect with that value.
    pub fn of(dialect: Dialect, value: &[u8]) -> HeaderDigest {
        HeaderDigest(Sha256::new().chain_update([dialect.version()]).chain_update(value).finalize().into())
    }
}

impl fmt::Debug for HeaderDigest {
    /// Who has the header has the window: not even its digest is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderDigest")
    }
}

/// Which payment a header is.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The payment's id.
    pub id: PaymentId,
    /// SHA-256 of its signed payload; see [`crate::x402::Payment`].
    pub digest: [u8; 32],
}

/// The readings that are remembered; bounded, and lost at a restart: a miss is read anew.
pub struct Readings {
    cache: Cache<HeaderDigest, Reading>,
}

impl Readings {
    /// Remembers about that many.
    pub fn new(capacity: usize) -> Readings {
        Readings { cache: Cache::new(capacity) }
    }

    /// From now on remembers about that many.
    pub fn resize(&self, capacity: usize) {
        self.cache.set_capacity(u64::try_from(capacity).unwrap_or(u64::MAX));
    }

    /// What this header was read as the last time.
    pub fn get(&self, header: &HeaderDigest) -> Option<Reading> {
        self.cache.get(header)
    }

    /// Remembers it; may forget another one for it.
    pub fn insert(&self, header: HeaderDigest, reading: Reading) {
        self.cache.insert(header, reading);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_its_bytes_and_its_name() {
        let headers = [
            HeaderDigest::of(Dialect::V1, b"e30="),
            HeaderDigest::of(Dialect::V2, b"e30="),
            HeaderDigest::of(Dialect::V2, b"e30"),
            HeaderDigest::of(Dialect::V2, b""),
        ];
        for (at, header) in headers.iter().enumerate() {
            let same: Vec<usize> = (0..headers.len()).filter(|other| headers[*other] == *header).collect();
            assert_eq!(same, [at]);
        }
        assert_eq!(headers[1], HeaderDigest::of(Dialect::V2, b"e30="));
        assert_eq!(format!("{:?}", headers[0]), "HeaderDigest");
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let readings = Readings::new(10);
        let reading = |number: usize| Reading {
            id: PaymentId::parse(&format!("{number:064x}")).unwrap(),
            digest: [u8::try_from(number).unwrap(); 32],
        };
        for number in 0..100 {
            let header = HeaderDigest::of(Dialect::V2, &[u8::try_from(number).unwrap()]);
            readings.insert(header, reading(number));
            assert_eq!(readings.get(&header).unwrap().id, reading(number).id);
            assert!(readings.cache.len() <= 10, "{}", readings.cache.len());
        }
        readings.resize(2);
        assert!(readings.cache.len() <= 2, "{}", readings.cache.len());
    }
}
