//! Keeps secrets that stand in the file itself out of excerpts.
//!
//! Excerpts are cut from a copy of the file in which secrets are stars. The copy has the same length, so every
//! position still holds. What is masked is decided by exclusion: in the tables that may hold secrets only the
//! keys known to be harmless stay readable, so that a misspelt `bearer` is not printed either.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::Span;
use super::reference;

/// Keys of `[facilitators.*]` and `[[pass_key]]` whose values may be shown.
const HARMLESS: &[&str] = &[
    "url",
    "connect_timeout",
    "read_timeout",
    "verify_timeout",
    "settle_timeout",
    "calls_in_flight",
    "balance",
    "verify_delay",
    "settle_delay",
    "fail",
    "id",
];

/// The same of `[networks.*]`: their URLs hold keys in any part.
const HARMLESS_OF_NETWORKS: &[&str] = &["confirmations", "block_range"];

/// The same of `[server]`: all that it may hold but the telling one.
const HARMLESS_OF_SERVER: &[&str] = super::server::SERVER.names;

/// Tables of the file that hold no secrets; what stands under any other key of the file may be one.
const OPEN_TABLES: &[&str] = &["admin", "log", "ledger", "pay", "upstreams", "route"];

/// A key with one of these in its name is taken for a secret's wherever it stands.
const TELLING: &[&str] =
    &["secret", "bearer", "headers", "token", "password", "passwd", "authorization", "api_key", "apikey", "credential"];

/// The file's text with its secrets as stars. `recovered`: the tree is what was left after syntax errors.
pub(super) fn mask(text: &str, root: &DeTable<'_>, recovered: bool) -> String {
    let mut masked = text.as_bytes().to_vec();
    for (key, value) in root.iter() {
        let name = key.get_ref().as_ref();
        match (name, value.get_ref()) {
            ("facilitators", DeValue::Table(facilitators)) => {
                facilitators.values().for_each(|one| mask_holder(&mut masked, text, one, HARMLESS));
            }
            ("networks", DeValue::Table(networks)) => {
                networks.values().for_each(|one| mask_holder(&mut masked, text, one, HARMLESS_OF_NETWORKS));
            }
            ("server", DeValue::Table(_)) => mask_holder(&mut masked, text, value, HARMLESS_OF_SERVER),
            ("pass_key", DeValue::Array(keys)) => {
                keys.iter().for_each(|one| mask_holder(&mut masked, text, one, HARMLESS));
            }
            // Here the keys are names of the operator's choice, which tell nothing.
            ("pay" | "upstreams", DeValue::Table(named)) => {
                named.values().for_each(|one| mask_telling(&mut masked, text, one));
            }
            _ if OPEN_TABLES.contains(&name) => mask_telling(&mut masked, text, value),
            _ => mask_value(&mut masked, text, value),
        }
    }
    if recovered {
        mask_lines(&mut masked, text);
    }
    String::from_utf8(masked).unwrap_or_else(|_| "*".repeat(text.len()))
}

/// One facilitator, network or pass key, or the server.
fn mask_holder(masked: &mut [u8], text: &str, holder: &Spanned<DeValue<'_>>, harmless: &[&str]) {
    let DeValue::Table(table) = holder.get_ref() else {
        return mask_value(masked, text, holder);
    };
    for (key, value) in table.iter() {
        if harmless.contains(&key.get_ref().as_ref()) && !is_telling(key.get_ref()) {
            mask_telling(masked, text, value);
        } else {
            mask_value(masked, text, value);
        }
    }
}

/// Values of telling keys, and the `user:password@` of URLs.
fn mask_telling(masked: &mut [u8], text: &str, value: &Spanned<DeValue<'_>>) {
    match value.get_ref() {
        DeValue::Table(table) => {
            for (key, value) in table.iter() {
                if is_telling(key.get_ref()) {
                    mask_value(masked, text, value);
                } else {
                    mask_telling(masked, text, value);
                }
            }
        }
        DeValue::Array(values) => values.iter().for_each(|value| mask_telling(masked, text, value)),
        DeValue::String(_) => mask_userinfo(masked, text, value.span()),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

/// Everything within a value but its keys and its well-formed `${…}` references: what stands in others may be
/// the secret itself.
#[expect(clippy::arithmetic_side_effects, reason = "places within a file of at most 16 MiB")]
fn mask_value(masked: &mut [u8], text: &str, value: &Spanned<DeValue<'_>>) {
    match value.get_ref() {
        DeValue::Table(table) => table.values().for_each(|value| mask_value(masked, text, value)),
        DeValue::Array(values) => values.iter().for_each(|value| mask_value(masked, text, value)),
        DeValue::Boolean(_) => {}
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) => {
            let span = value.span();
            let mut at = span.start;
            let mut rest = text.get(span.clone()).unwrap_or_default();
            while let Some(opening) = rest.find("${") {
                let inside = rest.get(opening + 2..).unwrap_or_default();
                let name = inside.split('}').next().filter(|name| reference::is_name(name)).unwrap_or_default();
                star(masked, at..at + opening);
                at += opening + 2 + if name.is_empty() { 0 } else { name.len() + 1 };
                rest = text.get(at..span.end).unwrap_or_default();
            }
            star(masked, at..span.end);
        }
    }
}

/// What a URL holds of secrets: `user:password@`, and the value of a telling parameter such as `?password=`.
#[expect(clippy::arithmetic_side_effects, reason = "places within a file of at most 16 MiB")]
fn mask_userinfo(masked: &mut [u8], text: &str, span: Span) {
    let Some(value) = text.get(span.clone()) else { return };
    if value.contains("://")
        && let Some((before, query)) = value.split_once('?')
    {
        let mut at = span.start + before.len() + 1;
        for parameter in query.split_inclusive('&') {
            if let Some((name, value)) = parameter.split_once('=')
                && is_telling(name)
            {
                let value_at = at + name.len() + 1;
                star(masked, value_at..value_at + value.trim_end_matches('&').len());
            }
            at += parameter.len();
        }
    }
    if let (Some(scheme), Some(at)) = (value.find("://"), value.rfind('@'))
        && scheme + 3 < at
    {
        star(masked, span.start + scheme + 3..span.start + at);
    }
}

/// After a syntax error the tree may lack the very line that is shown: here whole lines are judged by their words.
#[expect(clippy::arithmetic_side_effects, reason = "places within a file of at most 16 MiB")]
fn mask_lines(masked: &mut [u8], text: &str) {
    let mut open_section = false;
    let mut harmless = HARMLESS;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        mask_userinfo(masked, text, start..start + line.len());
        let trimmed = line.trim_start();
        let end = start + line.len();
        if let Some(header) = trimmed.strip_prefix('[') {
            let header = header.trim_start_matches('[').trim_start();
            let section = header.split(['.', ']', ' ']).next().unwrap_or_default();
            open_section = OPEN_TABLES.contains(&section.trim());
            harmless = match section.trim() {
                "networks" => HARMLESS_OF_NETWORKS,
                "server" => HARMLESS_OF_SERVER,
                _ => HARMLESS,
            };
            if line.contains('=') {
                star(masked, start..end);
            }
        } else {
            let (key, value_at) = match line.find('=') {
                Some(equals) => (line.get(..equals).unwrap_or_default().trim(), start + equals + 1),
                None => ("", start),
            };
            if is_telling(line) || !(open_section || harmless.contains(&key)) {
                star(masked, value_at..end);
            }
        }
        start = end;
    }
}

fn is_telling(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    TELLING.iter().any(|word| text.contains(word))
}

/// Quotes and line ends stay, so that the excerpt still looks like the file.
fn star(masked: &mut [u8], span: Span) {
    for byte in masked.get_mut(span).into_iter().flatten() {
        if !matches!(*byte, b'"' | b'\'' | b'\n' | b'\r') {
            *byte = b'*';
        }
    }
}
