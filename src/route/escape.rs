//! Percent-escapes in a path: brought to one spelling, or refused.

use std::borrow::Cow;

use super::ambiguous::Ambiguous;

/// The first step to a canonical path (see [`super::canonical`]), and the refusal of all that must not stand in a path,
/// raw or escaped.
pub(super) fn settle_escapes(path: &str) -> Result<String, Ambiguous> {
    let mut canonical = String::with_capacity(path.len());
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.as_bytes();
    while let Some((&first, after)) = bytes.split_first() {
        bytes = after;
        let byte = if first == b'%' {
            let byte = leading_hex_byte(after).ok_or(Ambiguous::MalformedEscape)?;
            bytes = after.get(2..).unwrap_or_default();
            byte
        } else {
            first
        };
        match byte {
            0..=31 | 127 => return Err(Ambiguous::ControlCharacter),
            b'\\' => return Err(Ambiguous::Backslash),
            b';' => return Err(Ambiguous::PathParameter),
            b'/' if first == b'%' => return Err(Ambiguous::EncodedSlash),
            b'/' => canonical.push('/'),
            _ if is_unreserved(byte) || (first != b'%' && is_raw_reserved(byte)) => canonical.push(char::from(byte)),
            _ => push_escape(&mut canonical, byte),
        }
        decoded.push(byte);
    }
    std::str::from_utf8(&decoded).map_err(|_| Ambiguous::InvalidUtf8)?;
    if canonical.split('/').any(has_space_at_edge) {
        return Err(Ambiguous::EdgeSpace);
    }
    refuse_hidden_escapes(&canonical)?;
    Ok(canonical)
}

fn has_space_at_edge(segment: &str) -> bool {
    segment.starts_with("%20") || segment.ends_with("%20")
}

/// On the path after its escapes were settled: `%25%32%46` is `%252F` by then.
fn refuse_hidden_escapes(path: &str) -> Result<(), Ambiguous> {
    for (at, _) in path.match_indices("%25") {
        let after = path.as_bytes().get(at.saturating_add(3)..).unwrap_or_default();
        if leading_hex_byte(after).is_some() {
            return Err(Ambiguous::HiddenEscape);
        }
    }
    Ok(())
}

/// A segment as a backend reads it, for comparing.
///
/// The canonical form leaves `%40` and `@` apart, because RFC 3986 section 2.2 forbids to rewrite reserved characters;
/// but backends read the two alike, so a matcher that told them apart could be walked around. The escapes that are
/// decoded here are those of the sub-delimiters and of `:` and `@`; a canonical segment has no other two spellings.
pub(super) fn comparable(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut plain = String::with_capacity(segment.len());
    let mut rest = segment;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        match leading_hex_byte(after.as_bytes()) {
            Some(byte) if is_raw_reserved(byte) => {
                plain.push(char::from(byte));
                rest = after.get(2..).unwrap_or_default();
            }
            Some(_) | None => {
                plain.push('%');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// A segment as a backend compares it that takes `/A` for `/a`.
///
/// Beyond ASCII too: what Windows and macOS take for one name is one here, and a little more (`K` is also the Kelvin
/// sign): where a path could be a priced one, it has to be paid for.
pub(super) fn folded(segment: &str) -> Cow<'_, str> {
    let plain = comparable(segment);
    if !plain.bytes().any(|byte| byte == b'%' || byte.is_ascii_uppercase()) {
        return plain;
    }
    let mut bytes = Vec::with_capacity(plain.len());
    let mut rest = plain.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%').then(|| leading_hex_byte(after)).flatten();
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    // To upper case first: characters that share a capital, such as s and its long form, become one.
    Cow::Owned(String::from_utf8_lossy(&bytes).to_uppercase().to_lowercase())
}

/// RFC 3986 section 2.3.
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Reserved characters that stand raw in a segment: `pchar` without the unreserved ones, and without `;`.
pub(super) fn is_raw_reserved(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

/// The byte that two hex digits at the start spell.
pub(super) fn leading_hex_byte(text: &[u8]) -> Option<u8> {
    let (&[high, low], _) = text.split_first_chunk::<2>()?;
    let high = char::from(high).to_digit(16)?;
    let low = char::from(low).to_digit(16)?;
    u8::try_from(high << 4 | low).ok()
}

fn push_escape(text: &mut String, byte: u8) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    text.push('%');
    for nibble in [byte >> 4, byte & 15] {
        text.extend(HEX.get(usize::from(nibble)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_inside_a_segment_is_none_at_its_edge() {
        for (path, refused) in [
            ("/a%20b", false),
            ("/a%20b/20/a20", false),
            ("/%C3%A920", false),
            ("/a%20", true),
            ("/%20a/b", true),
            ("/a/%20/b", true),
            ("/a%20/", true),
        ] {
            let expected = if refused { Err(Ambiguous::EdgeSpace) } else { Ok(path.to_owned()) };
            assert_eq!(settle_escapes(path), expected, "{path}");
        }
    }

    #[test]
    fn segments_are_folded_beyond_ascii() {
        for (segment, expected) in [
            ("premium", "premium"),
            ("PreMium", "premium"),
            ("%40Me", "@me"),
            ("%C3%89t%C3%A9", "été"),
            ("%E2%84%AAeys", "keys"),
            ("%C5%BFecret", "secret"),
            ("a%20B", "a b"),
            ("%25", "%"),
        ] {
            assert_eq!(folded(segment), expected, "{segment}");
        }
    }

    #[test]
    fn segments_compare_as_a_backend_reads_them() {
        let cases = [
            ("@me", "@me"),
            ("%40me", "@me"),
            ("a%2Bb%3D%21", "a+b=!"),
            ("a%20b", "a%20b"),
            ("%25", "%25"),
            ("%C3%A9", "%C3%A9"),
        ];
        for (segment, expected) in cases {
            assert_eq!(comparable(segment), expected);
        }
    }
}
