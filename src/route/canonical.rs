//! One canonical path per resource, for matching and for forwarding alike.
//!
//! A backend decodes a path before it looks at it. If the gateway matched the bytes as sent, `/premium` could be
//! had as `/%70remium`, `//premium` or `/x/../premium`. So a path is brought to one form first, that form is
//! matched, and **that form is forwarded**; what two readers could understand differently is refused.
//!
//! What is done, in this order (RFC 3986 section 6.2.2, and stricter where noted):
//!
//! 1. *Escapes.* An escape of an unreserved character is decoded (`%7E` is `~`); the hex digits of the others are
//!    upper-cased. Printable characters that a path may not hold raw (`"<>[]^{|}` and the backtick) are escaped, as
//!    a browser would have done: clients send them, and backends read both spellings alike.
//! 2. *Slashes.* Several in a row become one. One slash at the end is kept as sent, because backends redirect
//!    between `/dir` and `/dir/` and dropping it would loop; it takes no part in matching.
//! 3. *Dot segments.* `.` and `..` are resolved, after the slashes: `/a//../b` is `/b`, as a file system has it.
//!    A `..` above the root is refused, where RFC 3986 section 5.2.4 would drop it: no honest client sends one.
//!
//! Names keep a dot at their end, which Windows drops: honest names have one. A space there, or in front, is refused.
//!
//! Case is left as it is. The query takes no part in matching and is forwarded byte for byte.
//!
//! An escape that hides in an escape (`%252F`, `%25C3%25A9`) is one for a backend that decodes twice, which would serve
//! another path than the one that was matched. It is refused; a `%25` that no two hex digits follow stays.

use std::borrow::Cow;

pub use super::ambiguous::Ambiguous;
use super::escape::{is_raw_reserved, is_unreserved, settle_escapes};

/// The longest target that is read, and the longest canonical one, in bytes.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// A request target whose path is canonical and whose query is untouched.
///
/// Borrows from the request when that was canonical already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalTarget<'a> {
    /// Path, and `?` and query where there is one.
    target: Cow<'a, str>,
    /// Where the path ends.
    path_len: usize,
}

/// A step on the way to the canonical path, for `explain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Escapes were decoded, upper-cased or added.
    Escapes,
    /// Several slashes in a row became one.
    Slashes,
    /// `.` and `..` were resolved.
    DotSegments,
}

impl<'a> CanonicalTarget<'a> {
    /// Reads an origin-form target (`/path?query`).
    pub fn parse(target: &'a [u8]) -> Result<CanonicalTarget<'a>, Ambiguous> {
        CanonicalTarget::parse_by_steps(target, |_, _| {})
    }

    /// [`CanonicalTarget::parse`] that also tells of each step which changed the path, and what it left.
    pub fn parse_by_steps(target: &'a [u8], on_step: impl FnMut(Step, &str)) -> Result<CanonicalTarget<'a>, Ambiguous> {
        let target = visible_ascii(target)?;
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        if is_plainly_canonical(path) {
            return Ok(CanonicalTarget { target: Cow::Borrowed(target), path_len: path.len() });
        }
        let mut canonical = canonical_path(path, on_step)?;
        if canonical == path {
            return Ok(CanonicalTarget { target: Cow::Borrowed(target), path_len: path.len() });
        }
        let path_len = canonical.len();
        if let Some(query) = query {
            canonical.push('?');
            canonical.push_str(query);
        }
        // Escaping makes a path longer; checked again, so that a canonical target always parses.
        if canonical.len() > TARGET_BYTES_MAX {
            return Err(Ambiguous::TooLong);
        }
        Ok(CanonicalTarget { target: Cow::Owned(canonical), path_len })
    }

    /// The canonical path. It starts with `/`; a trailing slash is kept as sent.
    pub fn path(&self) -> &str {
        self.target.get(..self.path_len).unwrap_or(&self.target)
    }

    /// The query as sent, without the `?`.
    pub fn query(&self) -> Option<&str> {
        self.target.get(self.path_len..)?.strip_prefix('?')
    }

    /// What is forwarded: path and query.
    pub fn path_and_query(&self) -> &str {
        &self.target
    }

    /// Whether the target was canonical as sent.
    pub fn was_canonical(&self) -> bool {
        matches!(self.target, Cow::Borrowed(_))
    }

    /// The same, no longer borrowing from the request.
    pub fn into_owned(self) -> CanonicalTarget<'static> {
        CanonicalTarget { target: Cow::Owned(self.target.into_owned()), path_len: self.path_len }
    }
}

/// The segments of a canonical path; a trailing slash makes none.
pub(super) fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// Bytes that may stand in a request target at all.
fn visible_ascii(target: &[u8]) -> Result<&str, Ambiguous> {
    match target.first() {
        None => return Err(Ambiguous::Empty),
        Some(_) if target.len() > TARGET_BYTES_MAX => return Err(Ambiguous::TooLong),
        Some(b'/') => {}
        Some(_) => return Err(Ambiguous::NotAPath),
    }
    for byte in target {
        match byte {
            b'#' => return Err(Ambiguous::Fragment),
            b'!'..=b'~' => {}
            b' ' => return Err(Ambiguous::Space),
            0..=31 | 127 => return Err(Ambiguous::ControlCharacter),
            128..=255 => return Err(Ambiguous::NotAscii),
        }
    }
    std::str::from_utf8(target).map_err(|_| Ambiguous::NotAscii)
}

/// The fast path: one look at each byte, no escapes. `false` means only that a closer look is needed.
fn is_plainly_canonical(path: &str) -> bool {
    let mut previous = None;
    for byte in path.bytes() {
        // A dot at the start of a segment may begin `.` or `..`.
        let plain = match byte {
            b'/' | b'.' => previous != Some(b'/'),
            _ => is_unreserved(byte) || is_raw_reserved(byte),
        };
        if !plain {
            return false;
        }
        previous = Some(byte);
    }
    true
}

fn canonical_path(path: &str, mut on_step: impl FnMut(Step, &str)) -> Result<String, Ambiguous> {
    let escaped = settle_escapes(path)?;
    if escaped != path {
        on_step(Step::Escapes, &escaped);
    }
    let single = collapse_slashes(&escaped);
    if single != escaped {
        on_step(Step::Slashes, &single);
    }
    let resolved = resolve_dot_segments(&single)?;
    if resolved != single {
        on_step(Step::DotSegments, &resolved);
    }
    Ok(resolved)
}

/// Step 2.
fn collapse_slashes(path: &str) -> String {
    let mut single = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !single.ends_with('/') {
            single.push(character);
        }
    }
    single
}

/// Step 3, on a path without empty segments. A dot segment at the end leaves the slash before it, as RFC 3986 has it.
fn resolve_dot_segments(path: &str) -> Result<String, Ambiguous> {
    let mut resolved: Vec<&str> = Vec::new();
    for segment in segments(path) {
        match segment {
            "." => {}
            ".." => {
                resolved.pop().ok_or(Ambiguous::AboveRoot)?;
            }
            _ => resolved.push(segment),
        }
    }
    let directory = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end));
    let mut text = String::with_capacity(path.len());
    for segment in &resolved {
        text.push('/');
        text.push_str(segment);
    }
    if directory || resolved.is_empty() {
        text.push('/');
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
