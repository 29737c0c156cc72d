//! Passes: signed tokens that prove a window without a look-up.
//!
//! `fb1.<key id>.<payload>.<mac>`, the last two in base64url without padding: fit for a URL, a header and a cookie.
//!
//! The payload is of a fixed layout, because a request waits while it is read:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | expiry, Unix seconds, big-endian |
//! | 1 | 0: any number of uses; 1: as many as follow |
//! | 4 | uses, big-endian; 0 after a 0 |
//! | 32 | payment id |
//! | 1 | length of the payer |
//! | 0–128 | payer, printable ASCII |
//!
//! The mac is HMAC-SHA-256 over a label that nothing else signs, over route and host, which the request names again
//! and the token need not carry, and over the token up to the mac. Every pass has exactly one spelling.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::keys::{KEY_ID_BYTES_MAX, PassKeys};
use crate::x402::PaymentId;

/// The longest payer that a pass carries, in bytes: an EVM address has 42, a Solana address at most 44.
pub const PAYER_BYTES_MAX: usize = 128;

/// The longest token that is read, in bytes.
pub const TOKEN_BYTES_MAX: usize =
    VERSION.len() + 1 + KEY_ID_BYTES_MAX + 1 + base64_len(PAYLOAD_BYTES_MAX) + 1 + MAC_TEXT_BYTES;

const VERSION: &str = "fb1";
/// Tells these macs from any other use of the same key.
const LABEL: &[u8] = b"farebox pass 1\0";
const HEAD_BYTES: usize = 8 + 1 + 4 + 32 + 1;
const PAYLOAD_BYTES_MAX: usize = HEAD_BYTES + PAYER_BYTES_MAX;
const MAC_TEXT_BYTES: usize = base64_len(32);

const fn base64_len(bytes: usize) -> usize {
    bytes.saturating_mul(4).div_ceil(3)
}

/// What a pass is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass<'a> {
    /// The route's name. Bound, not carried.
    pub route: &'a str,
    /// The canonical host it was paid on. Bound, not carried.
    pub host: &'a str,
    /// What it carries.
    pub claims: Claims,
}

/// What a pass carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who paid. What is longer than [`PAYER_BYTES_MAX`] or not printable ASCII is no address and travels as empty.
    pub payer: Arc<str>,
    /// The payment that opened the window; uses are counted against it.
    pub payment_id: PaymentId,
    /// Unix seconds; good only before.
    pub expires_at: u64,
    /// Requests the window opens, the paid one included; `None`: any number.
    pub uses: Option<u32>,
}

/// Why a token opens nothing. The request is then judged as if it had none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denied {
    /// Not a pass: too long, the wrong shape, or another spelling of one.
    #[error("not a pass")]
    Malformed,
    /// Signed with a key that is not (or no longer) held.
    #[error("signed with an unknown key")]
    UnknownKey,
    /// Forged, or issued for another route or host.
    #[error("not issued for this route and host")]
    BadMac,
    /// It was good.
    #[error("expired")]
    Expired,
}

impl Denied {
    /// The metrics label.
    pub fn label(self) -> &'static str {
        match self {
            Denied::Malformed => "malformed",
            Denied::UnknownKey => "unknown_key",
            Denied::BadMac => "bad_mac",
            Denied::Expired => "expired",
        }
    }
}

impl PassKeys {
    /// Signs a pass.
    pub fn issue(&self, pass: &Pass<'_>) -> String {
        let key = self.signing();
        let mut token = String::with_capacity(TOKEN_BYTES_MAX);
        token.push_str(VERSION);
        token.push('.');
        token.push_str(&key.id);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(pass.claims.to_payload(), &mut token);
        let mac = mac_over(&key.mac, pass.route, pass.host, &token).finalize().into_bytes();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(mac, &mut token);
        token
    }

    /// Judges a token as [`check`](PassKeys::check) does; a good one's signature is checked the first time only.
    pub fn open(&self, token: &str, route: &str, host: &str, now: u64) -> Result<Claims, Denied> {
        let (signed, mac) = parts(token).ok_or(Denied::Malformed)?;
        if let Some(claims) = self.proven.get(signed, mac, route, host) {
            return claims.at(now);
        }
        let claims = self.check(token, route, host, now)?;
        self.proven.insert(signed, mac, route, host, claims.clone());
        Ok(claims)
    }

    /// Judges a token for a route and a canonical host; `now` in Unix seconds.
    pub fn check(&self, token: &str, route: &str, host: &str, now: u64) -> Result<Claims, Denied> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Denied::Malformed);
        }
        let (signed, mac) = parts(token).ok_or(Denied::Malformed)?;
        let named = signed.strip_prefix(VERSION).and_then(|named| named.strip_prefix('.')).ok_or(Denied::Malformed)?;
        let (id, payload) = named.split_once('.').ok_or(Denied::Malformed)?;
        let key = self.by_id(id).ok_or(Denied::UnknownKey)?;
        // As it is written, for it has one spelling; in constant time.
        let mac_bytes = mac_over(&key.mac, route, host, signed).finalize().into_bytes();
        let mut ours = [0; MAC_TEXT_BYTES];
        let written = URL_SAFE_NO_PAD.encode_slice(mac_bytes, &mut ours);
        if written.is_err() || !bool::from(ours.ct_eq(mac.as_bytes())) {
            return Err(Denied::BadMac);
        }
        let mut bytes = [0; PAYLOAD_BYTES_MAX];
        decode(payload, &mut bytes).and_then(Claims::from_payload).ok_or(Denied::Malformed)?.at(now)
    }
}

/// What is signed, and its mac as text, which is of one length.
fn parts(token: &str) -> Option<(&str, &str)> {
    let (signed, mac) = token.split_at_checked(token.len().checked_sub(MAC_TEXT_BYTES)?)?;
    Some((signed.strip_suffix('.')?, mac))
}

/// Lengths go in before texts, so that no two pairs of route and host read alike.
fn mac_over(keyed: &Hmac<Sha256>, route: &str, host: &str, signed: &str) -> Hmac<Sha256> {
    let mut mac = keyed.clone();
    mac.update(LABEL);
    for part in [route, host] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    mac.update(signed.as_bytes());
    mac
}

/// What a text spells, if it fits; the engine refuses padding and stray bits at the end.
fn decode<'a>(text: &str, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let len = URL_SAFE_NO_PAD.decode_slice(text, buffer).ok()?;
    buffer.get(..len)
}

impl Claims {
    /// Themselves, unless their time is over.
    fn at(self, now: u64) -> Result<Claims, Denied> {
        if now < self.expires_at { Ok(self) } else { Err(Denied::Expired) }
    }

    /// The layout at the top, before base64.
    pub(crate) fn to_payload(&self) -> Vec<u8> {
        let carried = self.payer.len() <= PAYER_BYTES_MAX && is_printable(self.payer.as_bytes());
        let payer = if carried { self.payer.as_bytes() } else { b"" };
        let mut payload = Vec::with_capacity(PAYLOAD_BYTES_MAX);
        payload.extend(self.expires_at.to_be_bytes());
        payload.push(u8::from(self.uses.is_some()));
        payload.extend(self.uses.unwrap_or(0).to_be_bytes());
        payload.extend(id_bytes(&self.payment_id));
        payload.extend(u8::try_from(payer.len()));
        payload.extend(payer);
        payload
    }

    /// Strict: a payload that [`Claims::to_payload`] would not have written is none.
    pub(crate) fn from_payload(payload: &[u8]) -> Option<Claims> {
        let (expires_at, rest) = payload.split_first_chunk()?;
        let ([counted], rest) = rest.split_first_chunk()?;
        let (uses, rest) = rest.split_first_chunk()?;
        let (id, rest) = rest.split_first_chunk::<32>()?;
        let ([payer_len], payer) = rest.split_first_chunk()?;
        let uses = match (counted, u32::from_be_bytes(*uses)) {
            (0, 0) => None,
            (1, uses) => Some(uses),
            (_, _) => return None,
        };
        if payer.len() != usize::from(*payer_len) || !is_printable(payer) {
            return None;
        }
        Some(Claims {
            payer: std::str::from_utf8(payer).ok()?.into(),
            payment_id: PaymentId::from_digest(id),
            expires_at: u64::from_be_bytes(*expires_at),
            uses,
        })
    }
}

fn is_printable(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

/// A payment id is 64 hex digits in lower case by construction, so this loses nothing.
fn id_bytes(id: &PaymentId) -> impl Iterator<Item = u8> + '_ {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => digit.wrapping_sub(b'0'),
        _ => digit.wrapping_sub(b'a').wrapping_add(10) & 15,
    };
    let (pairs, _) = id.as_str().as_bytes().as_chunks::<2>();
    pairs.iter().map(move |[high, low]| nibble(*high) << 4 | nibble(*low))
}

#[cfg(test)]
mod tests;
