//! Why a request target is refused.

use super::canonical::TARGET_BYTES_MAX;

/// Why a target has no canonical form: the answer is 400, with this as its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Ambiguous {
    /// Nothing at all.
    #[error("the target is empty")]
    Empty,
    /// More than [`TARGET_BYTES_MAX`].
    #[error("the target is longer than {TARGET_BYTES_MAX} bytes")]
    TooLong,
    /// Not in origin form.
    #[error("the target does not start with `/`")]
    NotAPath,
    /// `#`, which never travels.
    #[error("the target holds a fragment: `#` is written %23")]
    Fragment,
    /// A raw space.
    #[error("the target holds a space: it is written %20")]
    Space,
    /// A control character (NUL to US, DEL), raw or escaped.
    #[error("the target holds a control character")]
    ControlCharacter,
    /// A raw byte above 127.
    #[error("the target holds a byte outside ASCII: such characters are written as escapes of their UTF-8")]
    NotAscii,
    /// `%` without two hex digits behind it.
    #[error("the path holds a malformed escape: `%` is followed by two hex digits, and a percent sign is written %25")]
    MalformedEscape,
    /// `%2F`: some backends take it for a slash, some do not.
    #[error("the path holds an encoded slash")]
    EncodedSlash,
    /// `\` or `%5C`: some backends take it for a slash.
    #[error("the path holds a backslash")]
    Backslash,
    /// `;` or `%3B`: some backends cut a segment there.
    #[error("the path holds a path parameter (`;`)")]
    PathParameter,
    /// A segment that begins or ends in `%20`: what trims it reads another name.
    #[error("the path holds a space at the edge of a segment")]
    EdgeSpace,
    /// Escapes above 127 that are not UTF-8.
    #[error("the path's escapes do not decode to UTF-8")]
    InvalidUtf8,
    /// A `..` with nothing before it.
    #[error("the path climbs above its root")]
    AboveRoot,
    /// Such as `%252F`; see [`super::canonical`].
    #[error("the path hides one escape in another")]
    HiddenEscape,
}

impl Ambiguous {
    /// Every reason, for tables and tests.
    pub const ALL: [Ambiguous; 15] = [
        Ambiguous::Empty,
        Ambiguous::TooLong,
        Ambiguous::NotAPath,
        Ambiguous::Fragment,
        Ambiguous::Space,
        Ambiguous::ControlCharacter,
        Ambiguous::NotAscii,
        Ambiguous::MalformedEscape,
        Ambiguous::EncodedSlash,
        Ambiguous::Backslash,
        Ambiguous::PathParameter,
        Ambiguous::EdgeSpace,
        Ambiguous::InvalidUtf8,
        Ambiguous::AboveRoot,
        Ambiguous::HiddenEscape,
    ];

    /// The machine-readable code. `Display` is a sentence for people.
    pub fn reason(self) -> &'static str {
        match self {
            Ambiguous::Empty => "target_empty",
            Ambiguous::TooLong => "target_too_long",
            Ambiguous::NotAPath => "target_not_a_path",
            Ambiguous::Fragment => "target_fragment",
            Ambiguous::Space => "target_space",
            Ambiguous::ControlCharacter => "target_control_character",
            Ambiguous::NotAscii => "target_not_ascii",
            Ambiguous::MalformedEscape => "path_malformed_escape",
            Ambiguous::EncodedSlash => "path_encoded_slash",
            Ambiguous::Backslash => "path_backslash",
            Ambiguous::PathParameter => "path_parameter",
            Ambiguous::EdgeSpace => "path_edge_space",
            Ambiguous::InvalidUtf8 => "path_invalid_utf8",
            Ambiguous::AboveRoot => "path_above_root",
            Ambiguous::HiddenEscape => "path_hidden_escape",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_distinct() {
        let codes: std::collections::HashSet<_> = Ambiguous::ALL.iter().map(|reason| reason.reason()).collect();
        assert_eq!(codes.len(), Ambiguous::ALL.len());
    }
}
