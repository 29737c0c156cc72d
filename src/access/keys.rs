//! The keys that sign passes and check them.

use std::fmt;

use hmac::{Hmac, KeyInit};
use sha2::Sha256;

use super::proven::Proven;
use crate::config::PassKey;
use crate::ledger::StoredKey;

/// The fewest bytes of a key's secret: as many as HMAC-SHA256 yields (RFC 2104 section 3).
pub const SECRET_BYTES_MIN: usize = 32;

/// The longest id of a key, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 32;

/// The most keys that are held: one signs, the others are on their way out.
pub const KEYS_MAX: usize = 16;

/// The keys that sign passes and check them: the first one signs, all of them check, each by its id.
///
/// To rotate, put a new key before the old one, and drop the old one when its last pass has expired.
pub struct PassKeys {
    signing: Key,
    retiring: Vec<Key>,
    pub(super) proven: Proven,
}

/// One key, ready to be used: the HMAC state after the secret went in, so that a check does not repeat that.
pub(super) struct Key {
    pub(super) id: Box<str>,
    pub(super) mac: Hmac<Sha256>,
}

/// Why keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// None was given.
    #[error("no key to sign passes with")]
    None,
    /// More than [`KEYS_MAX`].
    #[error("{0} pass keys: at most {KEYS_MAX} are held, drop those whose passes have expired")]
    TooMany(usize),
    /// The id would not fit into a pass.
    #[error("pass key id {0:?}: write 1 to {KEY_ID_BYTES_MAX} letters, digits, `-` or `_`")]
    BadId(String),
    /// Two keys of one id.
    #[error("pass key id {0:?} stands twice: give each key its own")]
    TwiceTheSame(String),
    /// The secret is too short.
    #[error("pass key {0:?}: its secret has less than {SECRET_BYTES_MIN} bytes")]
    TooShort(String),
}

impl PassKeys {
    /// Takes ids and secrets, the signing key first.
    pub fn new<'a>(keys: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<PassKeys, KeyError> {
        let mut ready: Vec<Key> = Vec::new();
        for (id, secret) in keys {
            if !is_key_id(id) {
                return Err(KeyError::BadId(id.to_owned()));
            }
            if ready.iter().any(|key| &*key.id == id) {
                return Err(KeyError::TwiceTheSame(id.to_owned()));
            }
            let mac = Hmac::new_from_slice(secret).ok().filter(|_| secret.len() >= SECRET_BYTES_MIN);
            ready.push(Key { id: id.into(), mac: mac.ok_or_else(|| KeyError::TooShort(id.to_owned()))? });
        }
        if ready.len() > KEYS_MAX {
            return Err(KeyError::TooMany(ready.len()));
        }
        let mut ready = ready.into_iter();
        let signing = ready.next().ok_or(KeyError::None)?;
        Ok(PassKeys { signing, retiring: ready.collect(), proven: Proven::new() })
    }

    /// The keys of the file.
    pub fn from_config(keys: &[PassKey]) -> Result<PassKeys, KeyError> {
        PassKeys::new(keys.iter().map(|key| (key.id.as_str(), key.secret.expose().as_bytes())))
    }

    /// The keys that the ledger made.
    pub fn from_ledger(keys: &[StoredKey]) -> Result<PassKeys, KeyError> {
        PassKeys::new(keys.iter().map(|key| (key.id.as_str(), key.secret.as_slice())))
    }

    pub(super) fn signing(&self) -> &Key {
        &self.signing
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&Key> {
        std::iter::once(&self.signing).chain(&self.retiring).find(|key| &*key.id == id)
    }
}

impl fmt::Debug for PassKeys {
    /// Ids only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let retiring: Vec<_> = self.retiring.iter().map(|key| &key.id).collect();
        f.debug_struct("PassKeys")
            .field("signing", &self.signing.id)
            .field("retiring", &retiring)
            .finish_non_exhaustive()
    }
}

fn is_key_id(id: &str) -> bool {
    (1..=KEY_ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_cannot_be_used_say_why() {
        let secret: &[u8] = &[7; SECRET_BYTES_MIN];
        let long = "k".repeat(KEY_ID_BYTES_MAX + 1);
        let many: Vec<String> = (0..=KEYS_MAX).map(|n| format!("k{n}")).collect();
        let error = |keys: Vec<(&str, &[u8])>| PassKeys::new(keys).map(|_| ()).unwrap_err();
        assert_eq!(error(vec![]), KeyError::None);
        assert_eq!(error(vec![("a", &[7; SECRET_BYTES_MIN - 1])]), KeyError::TooShort("a".into()));
        assert_eq!(error(vec![("a", secret), ("a", secret)]), KeyError::TwiceTheSame("a".into()));
        for id in ["", "a.b", "a b", "ä", &long] {
            assert_eq!(error(vec![(id, secret)]), KeyError::BadId(id.into()));
        }
        assert_eq!(error(many.iter().map(|id| (id.as_str(), secret)).collect()), KeyError::TooMany(KEYS_MAX + 1));
        let most = many.iter().take(KEYS_MAX).map(|id| (id.as_str(), secret));
        assert!(PassKeys::new(most).is_ok());
        assert!(PassKeys::new([("k".repeat(KEY_ID_BYTES_MAX).as_str(), secret)]).is_ok());
    }

    #[test]
    fn debug_shows_ids_and_no_secret() {
        let keys = PassKeys::new([("new", &[b's'; 32][..]), ("old", &[b't'; 32][..])]).unwrap();
        assert_eq!(format!("{keys:?}"), r#"PassKeys { signing: "new", retiring: ["old"], .. }"#);
    }
}
