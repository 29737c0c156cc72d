//! Secrets, the keys that sign passes, and those that sign what upstreams are told.

use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::reference::Origin;
use super::section::{Keys, Reader, Section, Text};

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The secret itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// A key that signs passes, from the file.
#[derive(Clone, PartialEq, Eq)]
pub struct PassKey {
    /// Stands in each pass that it signed.
    pub id: String,
    /// At least 32 bytes.
    pub secret: Secret,
}

impl std::fmt::Debug for PassKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PassKey").field("id", &self.id).finish_non_exhaustive()
    }
}

pub(super) const PASS_KEY: Keys = Keys { section: "[[pass_key]]", names: &["id", "secret"] };

/// As many bytes as the hash that passes are signed with: fewer would make it the easier thing to guess.
const SECRET_BYTES_MIN: usize = 32;
const SECRET_BYTES_MAX: usize = 1024;
/// The id travels in each pass.
const ID_BYTES_MAX: usize = 32;

const ID_HELP: &str = "write a name of at most 32 letters, digits, `-` and `_`, such as id = \"2026-11\"";
const SECRET_HELP: &str = "write `secret = \"${PASS_SECRET}\"` with at least 32 random bytes behind it, such as what \
                           `openssl rand -hex 32` prints";

/// Reads `[[pass_key]]`.
pub(super) fn read_pass_keys(reader: &mut Reader<'_>, root: &Section<'_>) -> Vec<PassKey> {
    let mut keys = Vec::new();
    let mut seen: Vec<Text> = Vec::new();
    for section in root.sections(reader, "pass_key", &PASS_KEY) {
        let id = section.required_text(reader, "id", ID_HELP).filter(|id| check_id(reader, id, &seen));
        let secret = section
            .required_text(reader, "secret", SECRET_HELP)
            .filter(|secret| check(reader, secret, "a pass key", SECRET_HELP));
        if let Some(id) = &id {
            seen.push(id.clone());
        }
        if let (Some(id), Some(secret)) = (id, secret) {
            keys.push(PassKey { id: id.value, secret: Secret::new(secret.value) });
        }
    }
    keys
}

fn check_id(reader: &mut Reader<'_>, id: &Text, seen: &[Text]) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if id.value.is_empty() || id.value.len() > ID_BYTES_MAX || !id.value.bytes().all(plain) {
        reader.report(Diagnostic::error(id.span.clone(), "not an id for a pass key", ID_HELP));
        return false;
    }
    if let Some(first) = seen.iter().find(|first| first.value == id.value) {
        let twice = Diagnostic::error(id.span.clone(), "two pass keys have this id", "give each key an id of its own");
        reader.report(twice.also(first.span.clone(), "the first one"));
        return false;
    }
    true
}

/// One in use, and one that is on its way in or out.
const UPSTREAM_SECRETS_MAX: usize = 2;

const UPSTREAM_SECRET_HELP: &str = "write `upstream_secret = \"${UPSTREAM_SECRET}\"` with at least 32 random bytes behind \
                                    it, such as what `openssl rand -hex 32` prints; while it is changed, \
                                    [\"${NEW}\", \"${OLD}\"]";

/// Reads `[server] upstream_secret`: one secret, or two while it is changed.
pub(super) fn read_upstream_secrets(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<Secret> {
    const KEY: &str = "upstream_secret";
    let (texts, span) = match section.value(KEY).map(|value| value.get_ref()) {
        Some(DeValue::Array(_)) => match section.texts(reader, KEY, UPSTREAM_SECRET_HELP) {
            Some(texts) => (texts.value, texts.span),
            None => return Vec::new(),
        },
        Some(_) => match section.text(reader, KEY, UPSTREAM_SECRET_HELP) {
            Some(text) => (vec![text.clone()], text.span),
            None => return Vec::new(),
        },
        None => return Vec::new(),
    };
    if texts.is_empty() || texts.len() > UPSTREAM_SECRETS_MAX {
        let title = format!("{} secrets: there may be one, or two while it is changed", texts.len());
        reader.report(Diagnostic::error(span, title, UPSTREAM_SECRET_HELP));
    }
    let right = texts.into_iter().filter(|text| check(reader, text, "an upstream secret", UPSTREAM_SECRET_HELP));
    right.map(|text| Secret::new(text.value)).collect()
}

/// `what` the secret is, with its article.
fn check(reader: &mut Reader<'_>, secret: &Text, what: &str, help: &str) -> bool {
    let bytes = secret.value.len();
    if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes) {
        let title = format!("{what} of {bytes} bytes: it must have between {SECRET_BYTES_MIN} and {SECRET_BYTES_MAX}");
        reader.report(Diagnostic::error(secret.span.clone(), title, help));
        return false;
    }
    warn_literal(reader, secret);
    true
}

/// A secret that stands in the file is copied with the file.
pub(super) fn warn_literal(reader: &mut Reader<'_>, secret: &Text) {
    match secret.origin {
        Origin::Referenced => {}
        Origin::Literal => {
            reader.report(Diagnostic::warning(
                secret.span.clone(),
                "a secret stands in the file",
                "keep it outside: \"${NAME}\" takes it from the environment, \"${file:/run/secrets/name}\" from a file",
            ));
            if let Some(path) = reader.path {
                reader.warn_if_open(path, secret.span.clone(), "in which a secret stands");
            }
        }
    }
}
