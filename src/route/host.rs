//! The host that a request names in its one spelling, and the patterns that are compared with it.

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::pattern::{PatternError, refuse};

/// The longest host name, in bytes (RFC 1035 section 2.3.4, without the root's dot).
pub const HOST_BYTES_MAX: usize = 253;

/// The longest label of a host name, in bytes (RFC 1035 section 2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;

/// Why an authority names no host: the answer is 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host: a name, an IPv4 address or an IPv6 address in brackets, with or without a port")]
pub struct HostError;

/// The host of a `Host` header or an `:authority`: in lower case, without port and without the root's dot, IPv6 in
/// brackets in its shortest form. All spellings of one host give the same, or a route of that host could be avoided
/// by writing `API.example.com.`.
pub fn canonical_host(authority: &str) -> Result<Cow<'_, str>, HostError> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']').ok_or(HostError)?;
        check_port(port)?;
        let address: Ipv6Addr = address.parse().map_err(|_| HostError)?;
        return Ok(Cow::Owned(format!("[{address}]")));
    }
    let colon = authority.bytes().position(|byte| byte == b':');
    let (host, port) = authority.split_at(colon.unwrap_or(authority.len()));
    check_port(port)?;
    let host = host.strip_suffix('.').unwrap_or(host);
    if !is_name(host) && host.parse::<Ipv4Addr>().is_err() {
        return Err(HostError);
    }
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(Cow::Owned(host.to_ascii_lowercase()));
    }
    Ok(Cow::Borrowed(host))
}

/// Nothing, or `:` and digits (RFC 3986 section 3.2.3 allows none).
fn check_port(port: &str) -> Result<(), HostError> {
    match port.strip_prefix(':') {
        Some("") => Ok(()),
        Some(digits) => {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok();
            if plain { Ok(()) } else { Err(HostError) }
        }
        None if port.is_empty() => Ok(()),
        None => Err(HostError),
    }
}

/// Whether this is a host name: labels of letters, digits, `-` and `_` (which container networks use), the last not
/// all digits, for then it would be an address.
fn is_name(host: &str) -> bool {
    // Once through: every request's host comes here.
    let (mut label_bytes, mut is_number, mut before) = (0_usize, true, b'.');
    for byte in host.bytes() {
        match byte {
            b'.' if label_bytes == 0 || before == b'-' => return false,
            b'.' => (label_bytes, is_number) = (0, true),
            b'-' if label_bytes == 0 => return false,
            b'0'..=b'9' => label_bytes = label_bytes.saturating_add(1),
            b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' => {
                (label_bytes, is_number) = (label_bytes.saturating_add(1), false)
            }
            _ => return false,
        }
        if label_bytes > LABEL_BYTES_MAX {
            return false;
        }
        before = byte;
    }
    label_bytes > 0 && before != b'-' && !is_number && host.len() <= HOST_BYTES_MAX
}

/// A host pattern: `None` in a route matches any host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `api.example.com`, in lower case, without a port.
    Exact(String),
    /// `*.example.com`: one or more labels before the rest; holds `example.com`.
    Suffix(String),
}

impl HostPattern {
    /// Reads `api.example.com`, `*.example.com`, or an IP address (IPv6 with or without brackets; kept with).
    pub fn parse(text: &str) -> Result<HostPattern, PatternError> {
        if text == "*" {
            return refuse("`*` as a host: leave `host` out to match any host");
        }
        if text.is_empty() {
            return refuse("an empty host: leave `host` out to match any host");
        }
        if text.contains("://") {
            return refuse(format!("`{text}` is a URL: write the host alone, such as `api.example.com`"));
        }
        let unbracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = unbracketed.parse::<Ipv6Addr>() {
            return Ok(HostPattern::Exact(format!("[{address}]")));
        }
        if text.contains(':') {
            return refuse(format!("`{text}` names a port: write the host alone, every port matches"));
        }
        let lower = text.to_lowercase();
        if lower.ends_with('.') {
            return refuse(format!("`{text}` ends in a dot: write `{}`", lower.trim_end_matches('.')));
        }
        if lower.parse::<Ipv4Addr>().is_ok() {
            return Ok(HostPattern::Exact(lower));
        }
        if !lower.is_ascii() {
            return refuse(format!("`{text}` is not ASCII: write the name in its `xn--` form"));
        }
        let (name, suffix) = match lower.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (lower.as_str(), false),
        };
        if name.contains('*') {
            return refuse(format!("`{text}`: `*` stands only for all labels before a name: `*.example.com`"));
        }
        if !is_name(name) {
            return refuse(format!(
                "`{text}` is not a host: write a name such as `api.example.com` or `*.example.com`, or an IP address"
            ));
        }
        Ok(if suffix { HostPattern::Suffix(name.to_owned()) } else { HostPattern::Exact(name.to_owned()) })
    }

    /// Whether it matches a host in its canonical form.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(name) => name == host,
            HostPattern::Suffix(name) => host
                .strip_suffix(name.as_str())
                .and_then(|labels| labels.strip_suffix('.'))
                .is_some_and(|l| !l.is_empty()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Suffix(name) => write!(f, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_host_has_one_spelling() {
        let cases = [
            ("api.example.com", "api.example.com"),
            ("API.Example.com:8443", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("api.example.com.:80", "api.example.com"),
            ("api.example.com:", "api.example.com"),
            ("localhost:3000", "localhost"),
            ("my_service", "my_service"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:8080", "[::1]"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ];
        for (authority, expected) in cases {
            assert_eq!(canonical_host(authority).as_deref(), Ok(expected), "{authority}");
        }
        let longest = format!("{}{}", "a.".repeat(126), "b");
        assert_eq!(canonical_host(&longest).as_deref(), Ok(longest.as_str()));
    }

    #[test]
    fn what_names_no_host_is_refused() {
        let too_long = format!("{}{}", "a.".repeat(126), "bc");
        let long_label = "a".repeat(LABEL_BYTES_MAX + 1);
        let cases = [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            ":80",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:+1",
            "user@host",
            "a b",
            "a/b",
            "::1",
            "[::1",
            "[::1]x",
            "[nope]",
            "127.1",
            "1.2.3.4.5",
            "256.1.1.1",
            "-a",
            "a-",
            "bücher.example",
            "a%2eb",
            too_long.as_str(),
            long_label.as_str(),
        ];
        for authority in cases {
            assert_eq!(canonical_host(authority), Err(HostError), "{authority}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_labels_and_the_last_is_no_number(host in "([a-zA-Z0-9_.\\-]{0,12}|([a-z0-9-]{1,3}\\.){0,3}[a-z0-9-]{0,3}|.{0,6})") {
            let is_label = |label: &str| {
                !label.is_empty()
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            };
            let last = host.rsplit('.').next().unwrap();
            let expected = host.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit());
            prop_assert_eq!(is_name(&host), expected, "{}", host);
        }
    }

    #[test]
    fn hosts_are_read_and_written() {
        let cases = [
            ("api.example.com", "api.example.com"),
            ("API.Example.COM", "api.example.com"),
            ("*.Example.com", "*.example.com"),
            ("localhost", "localhost"),
            ("my_service", "my_service"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "[::1]"),
            ("[2001:DB8:0::1]", "[2001:db8::1]"),
        ];
        for (text, shown) in cases {
            assert_eq!(HostPattern::parse(text).map(|host| host.to_string()).as_deref(), Ok(shown), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_pattern_says_what_would_be_right() {
        let cases = [
            ("", "leave `host` out"),
            ("*", "leave `host` out"),
            ("https://a.example", "write the host alone"),
            ("a.example:8080", "write the host alone"),
            ("[::1]:80", "write the host alone"),
            ("a.example.", "write `a.example`"),
            ("bücher.example", "`xn--`"),
            ("*example.com", "`*.example.com`"),
            ("a.*.example.com", "`*.example.com`"),
            ("*.*.example.com", "`*.example.com`"),
            ("*.1.2.3", "write a name"),
            ("1.2.3", "write a name"),
            ("a..b", "write a name"),
            ("-a.example", "write a name"),
            ("a b", "write a name"),
            ("*.", "write"),
        ];
        for (text, part) in cases {
            let message = HostPattern::parse(text).unwrap_err().0;
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn a_suffix_wants_a_label_before_it() {
        let suffix = HostPattern::parse("*.example.com").unwrap();
        for (host, expected) in [
            ("a.example.com", true),
            ("a.b.example.com", true),
            ("example.com", false),
            (".example.com", false),
            ("notexample.com", false),
            ("example.com.evil", false),
        ] {
            assert_eq!(suffix.matches(host), expected, "{host}");
        }
    }

    proptest! {
        #[test]
        fn canonical_hosts_stay_as_they_are(authority in "[a-cA-C0-9.:\\[\\]_-]{0,20}") {
            if let Ok(host) = canonical_host(&authority) {
                let again = canonical_host(&host);
                prop_assert_eq!(again.as_deref(), Ok(&*host));
            }
        }
    }
}
