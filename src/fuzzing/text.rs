//! Texts: request targets, config files, passes and cookies.

use std::path::Path;
use std::sync::LazyLock;

use crate::access::pass::{PAYER_BYTES_MAX, TOKEN_BYTES_MAX};
use crate::access::{Claims, Pass, PassCookie, PassKeys, strip_passes};
use crate::config::{self, Charge, Route};
use crate::route::canonical::{CanonicalTarget, TARGET_BYTES_MAX};
use crate::route::host::{HostPattern, canonical_host};
use crate::x402::challenge::{ChallengeTemplate, v1_offers};
use crate::x402::{Offer, PaymentId, header, v1};

/// As many times as some backends decode a path.
const DECODINGS: usize = 2;

static SHOP: LazyLock<config::Config> = LazyLock::new(|| {
    let text = r#"
[upstreams.api]
servers = ["127.0.0.1:3000"]
[upstreams.folding]
servers = ["127.0.0.1:3001"]
case_insensitive = true
[[route]]
name = "premium"
path = "/premium"
price = "free"
upstream = "api"
[[route]]
name = "below premium"
path = "/premium/*"
price = "free"
upstream = "api"
[[route]]
name = "paid"
path = "/v1/{id}/paid"
price = "free"
upstream = "api"
[[route]]
name = "reserved"
path = "/@me/a+b"
price = "free"
upstream = "api"
[[route]]
name = "folded"
path = "/Folded/*"
price = "free"
upstream = "folding"
"#;
    config::parse(text, "shop.toml", Path::new("."), &|_| None).unwrap_or_else(|report| panic!("{report}")).config
});

/// A request's target and its `Host`, with a line end between them.
///
/// A canonical target is its own canonical form, keeps its query, and leads to a route exactly if it leads there for a
/// backend that decodes it once, twice or not at all, sent or canonical. A canonical host is its own canonical form in
/// every spelling, and a route can be written for it.
pub fn request_target(data: &[u8]) {
    let mut lines = data.splitn(2, |&byte| byte == b'\n');
    let (target, host) = (lines.next().unwrap_or_default(), lines.next());
    if let Some(host) = host.and_then(|host| std::str::from_utf8(host).ok()) {
        request_host(host);
    }
    let Ok(canonical) = CanonicalTarget::parse(target) else { return };
    let text = canonical.path_and_query();
    assert!(text.len() <= TARGET_BYTES_MAX);
    let again = CanonicalTarget::parse(text.as_bytes()).expect("a canonical target can be read");
    assert!(again.was_canonical() && again.path_and_query() == text, "{text} is not its own canonical form");
    let query = target.iter().position(|&byte| byte == b'?').map(|at| &target[at + 1..]);
    assert_eq!(canonical.query().map(str::as_bytes), query, "a query stays");
    let path = canonical.path();
    assert!(path.starts_with('/') && !path.contains("//") && !path.contains([';', '\\']), "{path}");
    assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{path} has a dot segment");

    let found = SHOP.matcher.find("shop.test", path, "GET").and_then(|index| SHOP.routes.get(index));
    let matched = found.map(|route| match &*route.name {
        "below premium" => "premium",
        name => name,
    });
    let sent = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    for path in [sent, path.as_bytes()] {
        for decodings in 0..=DECODINGS {
            let place = place(path, decodings);
            // Who does not decode at all takes an escape for a name.
            let blind = decodings == 0 && path.contains(&b'%');
            assert!(blind || place == matched, "{:?} is {place:?}, not {matched:?}", path.escape_ascii().to_string());
        }
    }
}

fn request_host(host: &str) {
    let Ok(canonical) = canonical_host(host) else { return };
    let canonical = &*canonical;
    assert_eq!(canonical_host(canonical).as_deref(), Ok(canonical), "a canonical host is canonical");
    let in_capitals = host.to_ascii_uppercase();
    assert_eq!(canonical_host(&in_capitals).as_deref(), Ok(canonical), "case is no way around a host");
    for other in [format!("{canonical}:443"), format!("{canonical}.:80")] {
        let read = canonical_host(&other);
        // An address in brackets takes no dot.
        assert!(read.as_deref() == Ok(canonical) || canonical.starts_with('['), "{other} is {read:?}");
    }
    let pattern = HostPattern::parse(canonical).expect("a route can name every host");
    assert!(pattern.matches(canonical), "{pattern:?} is not {canonical}");
}

/// The route of the shop that a backend's path is, for one that decodes so many times, takes either slash, and leaves
/// out parameters, dots and the white space around a name.
fn place(path: &[u8], decodings: usize) -> Option<&'static str> {
    let mut path = path.to_vec();
    for _ in 0..decodings {
        path = decode(&path);
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| matches!(byte, b'/' | b'\\')) {
        let segment = segment.split(|&byte| byte == b';').next().unwrap_or_default();
        match segment.trim_ascii() {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    match segments[..] {
        [b"premium", ..] => Some("premium"),
        [b"v1", _, b"paid"] => Some("paid"),
        [b"@me", b"a+b"] => Some("reserved"),
        [first, ..] if first.eq_ignore_ascii_case(b"folded") => Some("folded"),
        _ => None,
    }
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

/// What messages call the file.
const FILE: &str = "gateway.toml";
/// Of more errors than these only the number is told.
const ERRORS_SHOWN: usize = 100;

/// What every environment variable holds.
const PLANTED: &str = "planted-secret-of-more-than-32-bytes-0123456789";

/// A config file's text, in an environment in which every variable is the same secret.
///
/// No message says what the environment holds or sends a terminal anything but text; every error names its line. What
/// compiles does so each time, and every price in it can be shown in both versions of x402.
pub fn config_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Only the config's own file is under test; and nobody's planted words stand in it.
    if text.contains("file:") || text.contains("/dev") || text.contains("planted") {
        return;
    }
    let parse = || config::parse(text, FILE, Path::new("/nonexistent"), &|_| Some(PLANTED.to_owned()));
    let messages = match parse() {
        Ok(loaded) => {
            assert_eq!(loaded.config.hash.len(), 16);
            let everything = format!("{:?}", loaded.config);
            assert!(!everything.contains(PLANTED), "{everything}");
            let again = parse().unwrap_or_else(|report| panic!("it compiled before:\n{report}"));
            assert_eq!(format!("{:?}", again.config.routes), format!("{:?}", loaded.config.routes));
            loaded.config.routes.iter().for_each(|route| shown(route));
            loaded.warnings
        }
        Err(report) => {
            let lines = text.split('\n').count();
            let places = report.rendered.lines().filter_map(|line| line.trim_start().strip_prefix("--> "));
            let mut placed = 0;
            for place in places {
                let mut numbers = place.strip_prefix(FILE).unwrap_or_default().split(':').skip(1);
                let line: usize = numbers.next().and_then(|line| line.parse().ok()).expect("an error names its line");
                assert!((1..=lines).contains(&line), "line {line} of {lines}:\n{}", report.rendered);
                assert!(numbers.next().is_some_and(|column| column.parse::<usize>().is_ok()), "{place}");
                placed += 1;
            }
            assert!(report.errors > 0 && placed >= report.errors.min(ERRORS_SHOWN), "{}", report.rendered);
            [report.warnings, vec![report.rendered]].concat()
        }
    };
    for message in messages {
        assert!(!message.contains("planted"), "a message says what the environment holds:\n{message}");
        assert!(!message.contains(|c: char| c.is_control() && c != '\n'), "{message:?}");
    }
}

/// What clients are shown of a route that compiled is what it says.
fn shown(route: &Route) {
    let Charge::Priced(terms) = &route.charge else { return };
    let challenge =
        ChallengeTemplate::new(&terms.offers, &terms.description, &terms.mime_type).render("https://shop.test/", None);
    let in_v2 = header::decode_payment_required(&challenge.payment_required).expect("a challenge can be read");
    let in_v1: v1::PaymentRequired = serde_json::from_slice(&challenge.body).expect("a challenge can be read");
    let amounts = |offers: &[&Offer]| offers.iter().map(|offer| offer.amount).collect::<Vec<_>>();
    let all: Vec<&Offer> = terms.offers.iter().collect();
    assert_eq!(in_v2.accepts.iter().map(|shown| shown.amount).collect::<Vec<_>>(), amounts(&all));
    let in_v1: Vec<_> = in_v1.accepts.iter().map(|shown| shown.max_amount_required).collect();
    assert_eq!(in_v1, amounts(&v1_offers(&terms.offers)));
}

const NOW: u64 = 1_790_000_000;

static KEYS: LazyLock<PassKeys> = LazyLock::new(|| {
    PassKeys::new([("a", &[1; 32][..]), ("b-2", &[2; 32][..])]).unwrap_or_else(|error| panic!("{error}"))
});

/// A token, or a `Cookie` header; also as an edit of a good token, by XOR and by what is put in its place from somewhere
/// on; and as the inside of a token.
///
/// Only the very token that was issued opens anything, for its route, its host and its time; its claims are what was
/// signed; each inside has one spelling; and no pass stays in a cookie.
pub fn pass(data: &[u8]) {
    let digest: [u8; 32] = std::array::from_fn(|at| data.get(at).copied().unwrap_or(7));
    let payer: String = data.iter().take(usize::from(digest[3])).map(|byte| char::from(b'!' + byte % 94)).collect();
    let claims = Claims {
        payer: if payer.len() <= PAYER_BYTES_MAX { payer.into() } else { "".into() },
        payment_id: PaymentId::from_digest(&digest),
        expires_at: NOW + 1 + u64::from(digest[0]),
        uses: digest[1].is_multiple_of(2).then_some(u32::from(digest[2])),
    };
    let expires_at = claims.expires_at;
    let issued = KEYS.issue(&Pass { route: "premium", host: "shop.test", claims: claims.clone() });
    assert_eq!(KEYS.check(&issued, "premium", "shop.test", NOW), Ok(claims));
    for (route, host, now) in [
        ("premium", "shop.test.", NOW),
        ("premium", "", NOW),
        ("", "shop.test", NOW),
        ("premiums", "hop.test", NOW),
        ("premium", "shop.test", expires_at),
        ("premium", "shop.test", u64::MAX),
    ] {
        assert!(KEYS.check(&issued, route, host, now).is_err(), "{issued} opens {route:?} on {host:?} at {now}");
    }
    assert!(issued.len() <= TOKEN_BYTES_MAX);

    let mut edited = issued.clone().into_bytes();
    for (byte, edit) in edited.iter_mut().zip(data) {
        *byte ^= edit;
    }
    let (at, end) = data.split_first().unwrap_or((&0, &[]));
    let kept = issued.as_bytes().get(..usize::from(*at)).unwrap_or(issued.as_bytes());
    for token in [&edited[..], data, &[kept, end].concat()] {
        let Ok(token) = std::str::from_utf8(token) else { continue };
        assert!(token == issued || KEYS.check(token, "premium", "shop.test", NOW).is_err(), "{token} opens a route");
    }

    if let Some(claims) = Claims::from_payload(data) {
        assert_eq!(claims.to_payload(), data, "{claims:?} has two spellings");
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
