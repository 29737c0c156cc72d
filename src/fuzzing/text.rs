//! Texts: request targets, config files, passes and cookies.

use std::path::Path;
use std::sync::LazyLock;

use crate::access::pass::TOKEN_BYTES_MAX;
use crate::access::{Claims, Pass, PassCookie, PassKeys, strip_passes};
use crate::config;
use crate::route::canonical::{CanonicalTarget, TARGET_BYTES_MAX};
use crate::route::host::canonical_host;
use crate::x402::PaymentId;

/// As many times as some backends decode a path.
const DECODINGS: usize = 2;

static SHOP: LazyLock<config::Config> = LazyLock::new(|| {
    let text = "[upstreams.api]\nservers = [\"127.0.0.1:3000\"]\n\
                [[route]]\npath = \"/premium\"\nprice = \"free\"\nname = \"it\"\n\
                [[route]]\npath = \"/premium/*\"\nprice = \"free\"\nname = \"below it\"\n";
    config::parse(text, "shop.toml", Path::new("."), &|_| None).unwrap().config
});

/// A request's target and its `Host`, with a line end between them.
///
/// A canonical target is its own canonical form, keeps its query, and leads to the priced place exactly if it leads
/// there for a backend that decodes it once, twice or not at all, sent or canonical.
pub fn request_target(data: &[u8]) {
    let mut lines = data.splitn(2, |&byte| byte == b'\n');
    let (target, host) = (lines.next().unwrap_or_default(), lines.next());
    if let Some(host) = host.and_then(|host| std::str::from_utf8(host).ok())
        && let Ok(canonical) = canonical_host(host)
    {
        assert_eq!(canonical_host(&canonical).as_deref(), Ok(&*canonical), "a canonical host is canonical");
    }
    let Ok(canonical) = CanonicalTarget::parse(target) else { return };
    let text = canonical.path_and_query();
    assert!(text.len() <= TARGET_BYTES_MAX);
    let again = CanonicalTarget::parse(text.as_bytes()).expect("a canonical target can be read");
    assert!(again.was_canonical() && again.path_and_query() == text, "{text} is not its own canonical form");
    let query = target.iter().position(|&byte| byte == b'?').map(|at| &target[at + 1..]);
    assert_eq!(canonical.query().map(str::as_bytes), query, "a query stays");

    let matched = SHOP.matcher.find("shop.test", canonical.path(), "GET").is_some();
    let sent = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    for path in [sent, canonical.path().as_bytes()] {
        for decodings in 0..=DECODINGS {
            let first = first_segment(path, decodings);
            // Who does not decode at all sees the escapes of what was sent.
            let blind = decodings == 0 && path == sent && sent.contains(&b'%');
            assert!(blind || (first == b"premium") == matched, "{:?} is {first:?}", path.escape_ascii().to_string());
        }
    }
}

/// What a backend takes for the path's first segment: decoded, with either slash, without parameters and dots.
fn first_segment(path: &[u8], decodings: usize) -> Vec<u8> {
    let mut path = path.to_vec();
    for _ in 0..decodings {
        path = decode(&path);
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| matches!(byte, b'/' | b'\\')) {
        let segment = segment.split(|&byte| byte == b';').next().unwrap_or_default();
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    segments.first().map(|first| first.to_vec()).unwrap_or_default()
}

/// Every escape that is one becomes its byte.
fn decode(path: &[u8]) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let mut decoded = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        match (byte, hex(path.get(at + 1)), hex(path.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// What every environment variable holds.
const PLANTED: &str = "planted-secret-of-more-than-32-bytes-0123456789";

/// A config file's text, in an environment in which every variable is the same secret.
///
/// No message says what the environment holds, an error is never without words, and a file that compiles is hashed.
pub fn config_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Only the config's own file is under test; and nobody's planted words stand in it.
    if text.contains("file:") || text.contains("planted") {
        return;
    }
    let messages = match config::parse(text, "gateway.toml", Path::new("/nonexistent"), &|_| Some(PLANTED.to_owned())) {
        Ok(loaded) => {
            assert_eq!(loaded.config.hash.len(), 16);
            let everything = format!("{:?}", loaded.config.pass_keys);
            assert!(!everything.contains(PLANTED), "{everything}");
            loaded.warnings
        }
        Err(report) => {
            assert!(report.errors > 0 && !report.rendered.is_empty());
            [report.warnings, vec![report.rendered]].concat()
        }
    };
    for message in messages {
        assert!(!message.contains("planted"), "a message says what the environment holds:\n{message}");
    }
}

const NOW: u64 = 1_790_000_000;

static KEYS: LazyLock<PassKeys> = LazyLock::new(|| {
    PassKeys::new([("a", &[1; 32][..]), ("b-2", &[2; 32][..])]).unwrap_or_else(|error| panic!("{error}"))
});

/// A token, or a `Cookie` header; also as an edit of a good token: its bytes are changed by XOR.
///
/// Only the very token that was issued opens anything, its claims are what was signed, and no pass stays in a cookie.
pub fn pass(data: &[u8]) {
    let mut payer = [0; 32];
    let digest: [u8; 32] = std::array::from_fn(|at| data.get(at).copied().unwrap_or(7));
    payer.copy_from_slice(&digest.map(|byte| b'!' + byte % 94));
    let claims = Claims {
        payer: std::str::from_utf8(&payer).unwrap_or_default().into(),
        payment_id: PaymentId::from_digest(&digest),
        expires_at: NOW + 1 + u64::from(digest[0]),
        uses: digest[1].is_multiple_of(2).then_some(u32::from(digest[2])),
    };
    let issued = KEYS.issue(&Pass { route: "premium", host: "shop.test", claims: claims.clone() });
    assert_eq!(KEYS.check(&issued, "premium", "shop.test", NOW), Ok(claims));
    assert!(KEYS.check(&issued, "premium", "shop.test.", NOW).is_err());
    assert!(issued.len() <= TOKEN_BYTES_MAX);

    let mut edited = issued.clone().into_bytes();
    for (byte, edit) in edited.iter_mut().zip(data) {
        *byte ^= edit;
    }
    for token in [&edited[..], data] {
        let Ok(token) = std::str::from_utf8(token) else { continue };
        assert!(token == issued || KEYS.check(token, "premium", "shop.test", NOW).is_err(), "{token} opens a route");
    }

    let cookie = PassCookie::of("premium");
    let kept = strip_passes(data);
    for token in cookie.find_in([data]) {
        let _ = KEYS.check(token, "premium", "shop.test", NOW);
    }
    if let Some(kept) = kept {
        assert_eq!(cookie.find_in([&*kept]).count(), 0, "a pass goes on to the upstream");
    }
}
