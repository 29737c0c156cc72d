//! What a file declares by name and refers to from elsewhere: facilitators, ways to pay, upstreams.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use toml::de::DeValue;

use super::diagnostic::{Diagnostic, Span};
use super::section::{Keys, Reader, Section, Text, quoted, wrong_type};
use super::suggest::did_you_mean;

/// The longest name, in bytes: names become metric labels and header values.
const NAME_BYTES_MAX: usize = 64;

/// One named table. It stays declared when its content is wrong, so that references to it are not errors too.
pub(super) struct Declared<T> {
    /// Where it starts.
    pub(super) span: Span,
    /// What it says; `None` when that is wrong.
    pub(super) value: Option<T>,
    used: Cell<bool>,
}

/// All tables of one kind, by name.
pub(super) struct Declarations<T> {
    keys: &'static Keys,
    /// As messages call one: "way to pay".
    what: &'static str,
    by_name: BTreeMap<Arc<str>, Declared<T>>,
}

impl<T> Declarations<T> {
    /// Reads the tables under a key of the file.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        root: &Section<'_>,
        key: &'static str,
        keys: &'static Keys,
        what: &'static str,
        mut read: impl FnMut(&mut Reader<'_>, &Arc<str>, &Section<'_>) -> Option<T>,
    ) -> Declarations<T> {
        let mut by_name = BTreeMap::new();
        let help = format!("write {} with a name of your choice, and its keys beneath", keys.section);
        let tables = match root.value(key).map(|value| (value, value.get_ref())) {
            None => Vec::new(),
            Some((_, DeValue::Table(tables))) => tables.iter().collect(),
            Some((value, _)) => {
                reader.report(wrong_type(value, format_args!("`{key}`"), "a table of tables", &help));
                Vec::new()
            }
        };
        for (name, value) in tables {
            let DeValue::Table(table) = value.get_ref() else {
                reader.report(wrong_type(value, format_args!("`{key}.{}`", name.get_ref()), "a table", &help));
                continue;
            };
            if !is_name(name.get_ref()) {
                reader.report(Diagnostic::error(
                    name.span(),
                    "not a name",
                    "a name has at most 64 letters, digits, `-` and `_`",
                ));
            }
            let name: Arc<str> = name.get_ref().as_ref().into();
            let section = Section::open(reader, format!("[{key}.{name}]"), value.span(), table, keys);
            let value = read(reader, &name, &section);
            by_name.insert(name, Declared { span: section.span, value, used: Cell::new(false) });
        }
        Declarations { keys, what, by_name }
    }

    /// What a text refers to; reported when there is no such thing.
    pub(super) fn find(&self, reader: &mut Reader<'_>, name: &Text) -> Option<(&Arc<str>, &Declared<T>)> {
        if let Some((name, declared)) = self.by_name.get_key_value(name.value.as_str()) {
            declared.used.set(true);
            return Some((name, declared));
        }
        let title = name.unless_referenced(
            || format!("there is no {} `{}`", self.what, name.value),
            &format!("there is no {} of the name that is referred to", self.what),
        );
        let names: Vec<&Arc<str>> = self.by_name.keys().collect();
        let names: Vec<&str> = names.into_iter().map(AsRef::as_ref).collect();
        let help = match did_you_mean(&name.value, names.iter().copied()) {
            Some(help) => help,
            None if names.is_empty() => format!("define it in {}", self.keys.section),
            None => format!("define it in {}; there are {}", self.keys.section, quoted(&names)),
        };
        reader.report(Diagnostic::absence(name.span.clone(), title, help));
        None
    }

    /// The one that is meant when none is named: the only one.
    pub(super) fn only(&self) -> Option<(&Arc<str>, &Declared<T>)> {
        let mut all = self.by_name.iter();
        let only = all.next().filter(|_| all.next().is_none())?;
        only.1.used.set(true);
        Some(only)
    }

    /// All of them in the file's order; all count as used.
    pub(super) fn all(&self) -> Vec<(&Arc<str>, &Declared<T>)> {
        let mut all: Vec<_> = self.by_name.iter().inspect(|(_, declared)| declared.used.set(true)).collect();
        all.sort_by_key(|(_, declared)| declared.span.start);
        all
    }

    /// Those that are right.
    pub(super) fn right(&self) -> impl Iterator<Item = (&Arc<str>, &Declared<T>, &T)> {
        self.by_name.iter().filter_map(|(name, declared)| Some((name, declared, declared.value.as_ref()?)))
    }

    /// The names.
    pub(super) fn names(&self) -> Vec<&str> {
        self.by_name.keys().map(AsRef::as_ref).collect()
    }

    /// Warns of what nothing refers to.
    pub(super) fn warn_unused(&self, reader: &mut Reader<'_>) {
        for (name, declared) in &self.by_name {
            if !declared.used.get() {
                reader.report(Diagnostic::warning(
                    declared.span.clone(),
                    format!("nothing uses the {} `{name}`", self.what),
                    "refer to it, or take it out",
                ));
            }
        }
    }

    /// The contents by name.
    pub(super) fn into_map<U>(self, resolved: impl Fn(T) -> U) -> BTreeMap<Arc<str>, U> {
        let right = self.by_name.into_iter().filter_map(|(name, declared)| Some((name, declared.value?)));
        right.map(|(name, value)| (name, resolved(value))).collect()
    }
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(plain)
}
