//! `${NAME}` and `${file:PATH}` in the file's texts.
//!
//! `${NAME}` is an environment variable; `${file:PATH}` is a file's text without its last line end, the path
//! relative to the config file's folder. `$${` is a literal `${`; any other `$` is itself, so `"$0.01"` is a price.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest file that is read for `${file:…}`, in bytes.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Where referenced values come from.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    /// Looks an environment variable up.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// What `${file:…}` is relative to.
    pub(super) base_dir: &'a Path,
}

/// Whether a text stands in the file as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Yes: it may be quoted in messages.
    Literal,
    /// Some of it comes from the environment or from a file: it may be secret.
    Referenced,
}

/// What is wrong with a reference, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadReference {
    pub(super) what: String,
    pub(super) help: String,
}

fn bad(what: impl Into<String>, help: impl Into<String>) -> BadReference {
    BadReference { what: what.into(), help: help.into() }
}

/// Puts in what is referred to. All bad references of a text are reported.
pub(super) fn expand(text: &str, sources: Sources<'_>) -> Result<(String, Origin), Vec<BadReference>> {
    let mut expanded = String::with_capacity(text.len());
    let mut origin = Origin::Literal;
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            problems.push(bad("`${` without its `}`", "write `${NAME}`; a literal `${` is written `$${`"));
            rest = "";
            break;
        };
        match look_up(name, sources) {
            Ok(value) => expanded.push_str(&value),
            Err(problem) => problems.push(problem),
        }
        origin = Origin::Referenced;
        rest = after;
    }
    expanded.push_str(rest);
    if problems.is_empty() { Ok((expanded, origin)) } else { Err(problems) }
}

/// The paths of a text's `${file:…}`.
pub(super) fn files(text: &str) -> impl Iterator<Item = &str> {
    text.split("${file:").skip(1).filter_map(|rest| rest.split_once('}')).map(|(path, _)| path)
}

fn look_up(name: &str, sources: Sources<'_>) -> Result<String, BadReference> {
    if let Some(path) = name.strip_prefix("file:") {
        return read_secret(path, sources.base_dir);
    }
    if !is_name(name) {
        return Err(bad(
            "a reference that names no environment variable",
            "write `${NAME}` with letters, digits and underscores, or `${file:/path/of/a/file}`; \
             a literal `${` is written `$${`",
        ));
    }
    (sources.env)(name).ok_or_else(|| {
        bad(
            format!("the environment variable `{name}` is not set"),
            format!("set `{name}` in the gateway's environment; a literal `${{` is written `$${{`"),
        )
    })
}

/// Whether what stands between `${` and `}` names a variable or a file.
pub(super) fn is_name(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.starts_with("file:")
        || (name.bytes().all(word) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit()))
}

fn read_secret(path: &str, base_dir: &Path) -> Result<String, BadReference> {
    let help = "`${file:PATH}` wants a readable text file of at most 64 KiB; \
                a relative path starts at the config file's folder";
    let mut bytes = Vec::new();
    File::open(base_dir.join(path))
        .and_then(|file| file.take(SECRET_FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| bad(format!("cannot read `{path}`: {}", error.kind()), help))?;
    if bytes.len() as u64 > SECRET_FILE_BYTES_MAX {
        return Err(bad(format!("`{path}` is too large"), help));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| bad(format!("`{path}` is not UTF-8 text"), help))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expanded(text: &str) -> Result<(String, Origin), usize> {
        let env = |name: &str| match name {
            "HOST" => Some("example.com".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOST}".to_owned()),
            _ => None,
        };
        expand(text, Sources { env: &env, base_dir: Path::new(".") }).map_err(|problems| problems.len())
    }

    #[test]
    fn references_are_replaced_and_nothing_else_is() {
        let same = |text: &str| Ok((text.to_owned(), Origin::Literal));
        let with = |text: &str| Ok((text.to_owned(), Origin::Referenced));
        let cases = [
            ("$0.01", same("$0.01")),
            ("$", same("$")),
            ("$$1 {x} $}", same("$$1 {x} $}")),
            ("$${HOST}", same("${HOST}")),
            ("${HOST}", with("example.com")),
            ("https://${HOST}:${HOST}/", with("https://example.com:example.com/")),
            ("${EMPTY}", with("")),
            ("${NESTED}", with("${HOST}")),
            ("${", Err(1)),
            ("${}", Err(1)),
            ("${1A}", Err(1)),
            ("${A B}", Err(1)),
            ("${NOT_SET} ${NOR_THIS}", Err(2)),
            ("${file:/nonexistent/x}", Err(1)),
            ("${file:.}", Err(1)),
        ];
        for (text, expected) in cases {
            assert_eq!(expanded(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_limit_without_its_last_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let limit = SECRET_FILE_BYTES_MAX as usize;
        let cases = [
            ("plain", b"abc".to_vec(), Some(b"abc".to_vec())),
            ("newline", b"abc\n\n".to_vec(), Some(b"abc\n".to_vec())),
            ("windows", b"abc\r\n".to_vec(), Some(b"abc".to_vec())),
            ("largest", vec![b'x'; limit], Some(vec![b'x'; limit])),
            ("larger", vec![b'x'; limit + 1], None),
            ("binary", vec![0xff], None),
        ];
        for (name, content, expected) in cases {
            std::fs::write(folder.path().join(name), content).unwrap();
            let sources = Sources { env: &|_| None, base_dir: folder.path() };
            let read = expand(&format!("${{file:{name}}}"), sources).ok().map(|(text, _)| text.into_bytes());
            assert_eq!(read, expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_text_without_an_opening_stays_as_it_is(text in "[^{]{0,40}") {
            prop_assert_eq!(expanded(&text), Ok((text, Origin::Literal)));
        }
    }
}
