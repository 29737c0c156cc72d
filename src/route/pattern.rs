//! What a route matches: host, path and methods.

use std::collections::HashSet;
use std::fmt;

use super::canonical::{CanonicalTarget, segments};
use super::escape::{comparable, folded};
pub use super::host::HostPattern;
pub use super::methods::Methods;

/// The most segments of a path pattern.
pub const SEGMENTS_MAX: usize = 64;

/// One segment of a path pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Matches itself.
    Literal(String),
    /// `{name}`: matches any one segment.
    Param(String),
}

/// A path pattern: `/exact`, `/items/{id}`, `/files/*`.
///
/// A trailing slash is not part of it: with and without, a path costs the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// Its segments, without the trailing `*`.
    pub segments: Vec<Segment>,
    /// Whether it ends in `/*`: matches what stands before it and everything beneath.
    pub rest: bool,
    /// Whether its literals match in any case, for an upstream that takes `/A` for `/a`.
    pub any_case: bool,
}

/// What a route matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// `None`: any host.
    pub host: Option<HostPattern>,
    /// The path.
    pub path: PathPattern,
    /// The methods.
    pub methods: Methods,
}

/// Why a text is not a pattern, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(pub String);

pub(super) fn refuse<T>(message: impl Into<String>) -> Result<T, PatternError> {
    Err(PatternError(message.into()))
}

impl PathPattern {
    /// Reads `/exact`, `/items/{id}` or `/files/*`. Its literals must be canonical themselves.
    pub fn parse(text: &str) -> Result<PathPattern, PatternError> {
        let Some(inner) = text.strip_prefix('/') else {
            return refuse(format!("`{text}` does not start with `/`: write `/{text}`"));
        };
        if text.contains('?') {
            return refuse(format!("`{text}` holds a query: a route matches the path alone"));
        }
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let mut pattern = PathPattern { segments: Vec::new(), rest: false, any_case: false };
        if inner.is_empty() {
            return if text.len() > 1 {
                refuse(format!("`{text}` has an empty segment: write `/`"))
            } else {
                Ok(pattern)
            };
        }
        let mut names = HashSet::new();
        let mut parts = inner.split('/').peekable();
        while let Some(part) = parts.next() {
            if part == "*" && parts.peek().is_none() && !text.ends_with('/') {
                pattern.rest = true;
                break;
            }
            let segment = Segment::parse(part, text)?;
            if let Segment::Param(name) = &segment
                && !names.insert(name.clone())
            {
                return refuse(format!("`{text}` names `{{{name}}}` twice: give each its own name"));
            }
            pattern.segments.push(segment);
        }
        if pattern.segments.len() > SEGMENTS_MAX {
            return refuse(format!("{} segments: a path pattern has at most {SEGMENTS_MAX}", pattern.segments.len()));
        }
        Ok(pattern)
    }

    /// A canonical path as it is compared where literals match in any case; `None` where they match as they are, or
    /// where that changes nothing.
    pub fn compared(&self, path: &str) -> Option<String> {
        if !self.any_case {
            return None;
        }
        let compared: Vec<_> = path.split('/').map(folded).collect();
        let compared = compared.join("/");
        (compared != path).then_some(compared)
    }

    /// Whether it matches a canonical path.
    pub fn matches(&self, path: &str) -> bool {
        let mut parts = segments(path);
        let all =
            self.segments.iter().all(|segment| parts.next().is_some_and(|part| segment.matches(part, self.any_case)));
        all && (self.rest || parts.next().is_none())
    }
}

impl Segment {
    /// `text` is the whole pattern, for the message.
    fn parse(part: &str, text: &str) -> Result<Segment, PatternError> {
        match part {
            "" => return refuse(format!("`{text}` has an empty segment: write one slash between segments")),
            "." | ".." => return refuse(format!("`{text}` has a dot segment: write the path that it leads to")),
            "**" => return refuse(format!("`{text}`: a single `*` at the end already matches everything beneath")),
            _ => {}
        }
        if let Some(name) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let mut bytes = name.bytes();
            let starts_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
            if !starts_well || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return refuse(format!(
                    "`{part}` in `{text}`: a parameter's name has letters, digits and `_` and does not start with a \
                     digit, such as `{{id}}`"
                ));
            }
            return Ok(Segment::Param(name.to_owned()));
        }
        if part.contains(['{', '}']) {
            return refuse(format!(
                "`{part}` in `{text}`: a parameter is a whole segment, such as `/items/{{id}}`; a brace itself is \
                 written %7B or %7D"
            ));
        }
        if part.contains('*') {
            return refuse(format!(
                "`{part}` in `{text}`: `*` is the last segment, alone, such as `/files/*`; use `{{name}}` for one \
                 segment; an asterisk itself is written %2A"
            ));
        }
        let path = format!("/{part}");
        match CanonicalTarget::parse(path.as_bytes()) {
            Ok(canonical) if canonical.path() == path => Ok(Segment::Literal(part.to_owned())),
            Ok(canonical) => {
                let right = canonical.path().trim_start_matches('/');
                refuse(format!("`{part}` in `{text}` is not canonical: write `{right}`"))
            }
            Err(ambiguous) if !part.is_ascii() => {
                refuse(format!("`{part}` in `{text}`: {ambiguous}: {}", escaped(part)))
            }
            Err(ambiguous) => refuse(format!("`{part}` in `{text}` can never match: {ambiguous}, which is refused")),
        }
    }

    /// Whether it matches one segment of a canonical path.
    fn matches(&self, part: &str, any_case: bool) -> bool {
        match self {
            Segment::Literal(literal) if any_case => folded(literal) == folded(part),
            Segment::Literal(literal) => comparable(literal) == comparable(part),
            Segment::Param(_) => true,
        }
    }
}

/// A segment with its characters outside ASCII escaped, for a message.
fn escaped(part: &str) -> String {
    let bytes =
        part.bytes().map(|byte| if byte.is_ascii() { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    format!("write `{}`", bytes.collect::<String>())
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Segment::Literal(literal) => f.write_str(literal),
            Segment::Param(name) => write!(f, "{{{name}}}"),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            write!(f, "/{segment}")?;
        }
        match (self.rest, self.segments.is_empty()) {
            (true, _) => f.write_str("/*"),
            (false, true) => f.write_str("/"),
            (false, false) => Ok(()),
        }
    }
}

impl fmt::Display for Pattern {
    /// `GET api.example.com/v1/*`; what matches anything is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.methods {
            Methods::Any => {}
            Methods::Only(_) => write!(f, "{} ", self.methods)?,
        }
        if let Some(host) = &self.host {
            host.fmt(f)?;
        }
        self.path.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_written() {
        let cases = [
            ("/", "/"),
            ("/*", "/*"),
            ("/exact", "/exact"),
            ("/exact/", "/exact"),
            ("/items/{id}", "/items/{id}"),
            ("/items/{id}/", "/items/{id}"),
            ("/{a}/x/{b_2}/*", "/{a}/x/{b_2}/*"),
            ("/users/@me/%40", "/users/@me/%40"),
            ("/a%20b/%2A", "/a%20b/%2A"),
            ("/.well-known/x", "/.well-known/x"),
        ];
        for (text, shown) in cases {
            let pattern = PathPattern::parse(text);
            assert_eq!(pattern.as_ref().map(ToString::to_string).as_deref(), Ok(shown), "{text}");
            assert_eq!(PathPattern::parse(shown), pattern);
        }
        let most = "/a".repeat(SEGMENTS_MAX);
        assert!(PathPattern::parse(&most).is_ok());
    }

    #[test]
    fn what_is_no_path_pattern_says_what_would_be_right() {
        let too_many = "/a".repeat(SEGMENTS_MAX + 1);
        let cases = [
            ("", "write `/`"),
            ("exact", "write `/exact`"),
            ("/a?b", "path alone"),
            ("//", "empty segment"),
            ("/a//b", "empty segment"),
            ("/a/../b", "dot segment"),
            ("/./a", "dot segment"),
            ("/a/*/b", "last segment"),
            ("/a/*/", "last segment"),
            ("/a*", "last segment"),
            ("/a/**", "single `*`"),
            ("/a/{}", "such as `{id}`"),
            ("/a/{1}", "such as `{id}`"),
            ("/a/{b c}", "such as `{id}`"),
            ("/a/{b}.json", "whole segment"),
            ("/a/x{b}", "whole segment"),
            ("/{a}/{a}", "twice"),
            ("/%61bc", "write `abc`"),
            ("/a%2fb", "encoded slash"),
            ("/a%c3%a9", "write `a%C3%A9`"),
            ("/café", "write `caf%C3%A9`"),
            ("/a|b", "write `a%7Cb`"),
            ("/a;b", "path parameter"),
            ("/a b", "%20"),
            ("/a#b", "%23"),
            ("/%2e%2e", "climbs"),
            (too_many.as_str(), "at most 64"),
        ];
        for (text, part) in cases {
            let message = PathPattern::parse(text).unwrap_err().0;
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn a_trailing_slash_never_changes_what_matches() {
        for (pattern, path, expected) in [
            ("/files/*", "/files", true),
            ("/files/*", "/files/", true),
            ("/files/*", "/files/a/b", true),
            ("/files/*", "/filesystem", false),
            ("/*", "/", true),
            ("/*", "/a/b/", true),
            ("/", "/", true),
            ("/", "/a", false),
            ("/a", "/a/", true),
            ("/a", "/A", false),
            ("/items/{id}", "/items/7/", true),
            ("/items/{id}", "/items", false),
            ("/items/{id}", "/items/7/8", false),
            ("/users/@me", "/users/%40me", true),
            ("/users/%40me", "/users/@me", true),
        ] {
            assert_eq!(PathPattern::parse(pattern).unwrap().matches(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_pattern_reads_like_a_request() {
        let pattern = |methods: Methods, host: Option<&str>| Pattern {
            host: host.map(|host| HostPattern::parse(host).unwrap()),
            path: PathPattern::parse("/v1/{id}/*").unwrap(),
            methods,
        };
        let only = Methods::parse(&["GET", "POST"]).unwrap();
        assert_eq!(pattern(only, Some("*.example.com")).to_string(), "GET,POST *.example.com/v1/{id}/*");
        assert_eq!(pattern(Methods::Any, None).to_string(), "/v1/{id}/*");
    }
}
