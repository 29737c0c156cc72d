//! The cookie that carries a pass for a browser, one per route.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use sha2::{Digest, Sha256};

/// What every pass cookie's name starts with.
pub const PASS_COOKIE_PREFIX: &str = "farebox-pass";

/// The most passes of one route that are looked at in one request. A browser may send several of one name (other paths,
/// other domains set them), and each costs a signature check.
pub const PASSES_MAX: usize = 4;

/// The cookie of one route: its name has a digest of the route's, so that passes of several routes do not overwrite
/// each other, and no character of a route's name needs a cookie's leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassCookie {
    name: Box<str>,
}

impl PassCookie {
    /// The cookie of the route of that name. Hashes: keep it beside the route.
    pub fn of(route: &str) -> PassCookie {
        let mut name = format!("{PASS_COOKIE_PREFIX}-");
        for byte in Sha256::digest(route.as_bytes()).iter().take(4) {
            // Writing to a string cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        PassCookie { name: name.into() }
    }

    /// `farebox-pass-` and 8 hex digits.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a `Set-Cookie`. `secure` where clients come over TLS.
    pub fn set_cookie(&self, token: &str, max_age: Duration, secure: bool) -> String {
        let secure = if secure { "; Secure" } else { "" };
        format!("{}={token}; Max-Age={}; Path=/; HttpOnly; SameSite=Lax{secure}", self.name, max_age.as_secs())
    }

    /// The passes of this route in a request's `Cookie` headers, unchecked, at most [`PASSES_MAX`].
    pub fn find_in<'h>(&self, headers: impl IntoIterator<Item = &'h [u8]>) -> impl Iterator<Item = &'h str> {
        let name = self.name.as_bytes();
        let values =
            headers.into_iter().flat_map(|header| header.split(|&byte| byte == b';')).filter_map(move |pair| {
                let at = pair.iter().position(|&byte| byte == b'=')?;
                let (found, value) = pair.split_at(at);
                (found.trim_ascii() == name).then(|| value.strip_prefix(b"=").unwrap_or_default().trim_ascii())
            });
        values.filter_map(|value| std::str::from_utf8(value).ok()).take(PASSES_MAX)
    }
}

/// A `Cookie` header without passes, of any route, and with the other cookies byte for byte: a pass is not the
/// upstream's business. `None` when no cookie is left.
pub fn strip_passes(header: &[u8]) -> Option<Cow<'_, [u8]>> {
    let pairs = || header.split(|&byte| byte == b';');
    let is_pass = |pair: &[u8]| pair.trim_ascii_start().starts_with(PASS_COOKIE_PREFIX.as_bytes());
    if !pairs().any(is_pass) {
        return Some(Cow::Borrowed(header));
    }
    let kept: Vec<&[u8]> = pairs().filter(|pair| !is_pass(pair)).collect();
    let kept = kept.join(&b';').trim_ascii_start().to_vec();
    let something = kept.iter().any(|&byte| byte != b';' && !byte.is_ascii_whitespace());
    something.then_some(Cow::Owned(kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_route_has_its_own_cookie() {
        let cookie = PassCookie::of("GET /v1/*");
        assert_ne!(cookie, PassCookie::of("GET /v2/*"));
        let digits = cookie.name().strip_prefix("farebox-pass-").unwrap();
        assert!(digits.len() == 8 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{digits}");
        // SHA-256 of "abc" (FIPS 180-2, appendix B.1) starts with ba7816bf.
        assert_eq!(PassCookie::of("abc").name(), "farebox-pass-ba7816bf");
    }

    #[test]
    fn a_cookie_is_out_of_reach_for_scripts_and_other_sites() {
        let cookie = PassCookie::of("abc");
        let minute = Duration::from_secs(60);
        assert_eq!(
            cookie.set_cookie("fb1.a.b.c", minute, true),
            "farebox-pass-ba7816bf=fb1.a.b.c; Max-Age=60; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
        assert!(!cookie.set_cookie("t", minute, false).contains("Secure"));
    }

    #[test]
    fn passes_are_found_among_other_cookies() {
        let cookie = PassCookie::of("abc");
        let find = |headers: &[&'static [u8]]| cookie.find_in(headers.iter().copied()).collect::<Vec<_>>();
        assert_eq!(find(&[b"a=1; farebox-pass-ba7816bf=t1; b=2"]), ["t1"]);
        assert_eq!(find(&[b"farebox-pass-ba7816bf = t1 ", b"x=\xff;farebox-pass-ba7816bf=t2"]), ["t1", "t2"]);
        for none in [
            &b""[..],
            b"farebox-pass-ba7816bf",
            b"farebox-pass-00000000=t",
            b"xfarebox-pass-ba7816bf=t",
            b"FAREBOX-PASS-BA7816BF=t",
            b"a=farebox-pass-ba7816bf=t",
            b"farebox-pass-ba7816bf=\xff",
        ] {
            assert_eq!(find(&[none]), [""; 0], "{}", none.escape_ascii());
        }
        assert_eq!(find(&[&b"farebox-pass-ba7816bf=t"[..]; PASSES_MAX + 1]).len(), PASSES_MAX);
    }

    #[test]
    fn the_upstream_sees_no_pass_and_every_other_cookie() {
        let cases: &[(&[u8], Option<&[u8]>)] = &[
            (b"a=1; b=2", Some(b"a=1; b=2")),
            (b"", Some(b"")),
            (b"a=1; farebox-pass-ba7816bf=t; b=\"2\"", Some(b"a=1; b=\"2\"")),
            (b"farebox-pass-ba7816bf=t; b=2", Some(b"b=2")),
            (b"b=2;farebox-pass-ba7816bf=t", Some(b"b=2")),
            (b"b=\xff  ;farebox-pass=t;;c", Some(b"b=\xff  ;;c")),
            (b"farebox-pass-ba7816bf=t", None),
            (b" farebox-pass-ba7816bf=t; farebox-pass-1=u;", None),
            (b"farebox-pass", None),
            (b"my-farebox-pass=1", Some(b"my-farebox-pass=1")),
        ];
        for (header, expected) in cases {
            assert_eq!(strip_passes(header).as_deref(), *expected, "{}", header.escape_ascii());
        }
        assert!(matches!(strip_passes(b"a=1"), Some(Cow::Borrowed(_))));
    }

    proptest! {
        #[test]
        fn stripping_leaves_no_pass_and_loses_no_other_cookie(
            pairs in prop::collection::vec("(farebox-pass-[0-9a-f]{2}|[a-c]{1,3})=[a-z]{0,3}", 0..8),
        ) {
            let others: Vec<&String> = pairs.iter().filter(|pair| !pair.starts_with("farebox")).collect();
            let header = pairs.join("; ");
            let stripped = strip_passes(header.as_bytes()).map(|kept| String::from_utf8(kept.into_owned()).unwrap());
            let expected = others.iter().map(|pair| pair.as_str()).collect::<Vec<_>>().join("; ");
            prop_assert_eq!(stripped.unwrap_or_default(), expected);
        }

        #[test]
        fn no_header_makes_it_panic(header in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = strip_passes(&header);
            let _ = PassCookie::of("abc").find_in([header.as_slice()]).count();
        }
    }
}
