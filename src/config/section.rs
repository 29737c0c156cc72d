//! A typed reader over one table of the file. It never stops at an error: it notes it and reads on.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Span};
use super::duration;
use super::reference::{self, Origin, Sources};
use super::suggest::did_you_mean;
use super::{ReadFile, watch};

/// What all sections are read with.
pub(super) struct Reader<'a> {
    sources: Sources<'a>,
    /// The file itself, where it is one.
    pub(super) path: Option<&'a Path>,
    /// What was found so far.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Files that are open to others, and were warned of.
    pub(super) warned: Vec<PathBuf>,
    /// Files whose content goes into the config.
    pub(super) files: Vec<ReadFile>,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// A text of the file, references put in.
#[derive(Clone)]
pub(super) struct Text {
    pub(super) value: String,
    pub(super) span: Span,
    pub(super) origin: Origin,
}

impl fmt::Debug for Text {
    /// Without the text, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").field("span", &self.span).field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Text {
    /// What may be said about the text in a message: `said` quotes it, `otherwise` does not.
    pub(super) fn unless_referenced(&self, said: impl FnOnce() -> String, otherwise: &str) -> String {
        match self.origin {
            Origin::Literal => said(),
            Origin::Referenced => otherwise.to_owned(),
        }
    }
}

/// What a table may hold.
pub(super) struct Keys {
    /// As messages call the table: `[server]`, `[pay.NAME]`.
    pub(super) section: &'static str,
    /// Its keys.
    pub(super) names: &'static [&'static str],
}

/// One table of the file.
#[derive(Clone)]
pub(super) struct Section<'a> {
    /// As messages call it: `[server]`, `[pay.usdc]`.
    pub(super) title: Cow<'static, str>,
    /// Where it starts.
    pub(super) span: Span,
    table: Option<&'a DeTable<'a>>,
    keys: &'static Keys,
}

impl<'a> Reader<'a> {
    pub(super) fn new(sources: Sources<'a>, path: Option<&'a Path>) -> Reader<'a> {
        Reader { sources, path, diagnostics: Vec::new(), warned: Vec::new(), files: Vec::new() }
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// The path of a file that the config names. What it holds now is noted: read it after this, so that a change in
    /// between is seen as one.
    pub(super) fn note_file(&mut self, named: &str) -> PathBuf {
        let path = self.sources.base_dir.join(named);
        if !self.files.iter().any(|file| file.path == path)
            && let Ok(hash) = watch::hash_of(&path)
        {
            self.files.push(ReadFile { path: path.clone(), hash });
        }
        path
    }

    /// What relative paths start at.
    pub(super) fn base_dir(&self) -> &'a Path {
        self.sources.base_dir
    }

    /// A value that must be a text. What messages call it is put into words only where there is one.
    pub(super) fn text(&mut self, value: &Spanned<DeValue<'_>>, what: impl Display, help: &str) -> Option<Text> {
        let DeValue::String(text) = value.get_ref() else {
            self.report(wrong_type(value, what, "a text", help));
            return None;
        };
        let files: Vec<PathBuf> = reference::files(text).map(|file| self.note_file(file)).collect();
        match reference::expand(text, self.sources) {
            Ok((value_, origin)) => {
                for file in files {
                    self.warn_if_open(&file, value.span(), "which is referred to as a secret");
                }
                Some(Text { value: value_, span: value.span(), origin })
            }
            Err(problems) => {
                for problem in problems {
                    self.report(Diagnostic::error(value.span(), problem.what, problem.help));
                }
                None
            }
        }
    }

    /// A value that must be a duration within bounds.
    pub(super) fn duration(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        what: impl Display + Copy,
        bounds: RangeInclusive<Duration>,
    ) -> Option<At<Duration>> {
        let text = self.text(value, what, duration::HELP)?;
        match duration::parse(&text.value, bounds) {
            Ok(value) => Some(At { value, span: text.span }),
            Err(error) => {
                self.report(Diagnostic::error(text.span, format!("{what}: {error}"), duration::HELP));
                None
            }
        }
    }

    /// A value that must be a whole number within bounds.
    pub(super) fn whole(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        what: impl Display,
        bounds: RangeInclusive<u64>,
    ) -> Option<At<u64>> {
        let help = || format!("write a whole number from {} to {}, without quotes", bounds.start(), bounds.end());
        let DeValue::Integer(digits) = value.get_ref() else {
            self.report(wrong_type(value, what, "a whole number", &help()));
            return None;
        };
        match u64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) if bounds.contains(&number) => Some(At { value: number, span: value.span() }),
            Ok(_) | Err(_) => {
                self.report(Diagnostic::error(value.span(), format!("{what} is out of bounds"), help()));
                None
            }
        }
    }
}

impl<'a> Section<'a> {
    /// Opens a table; keys that it may not hold are reported.
    pub(super) fn open(
        reader: &mut Reader<'_>,
        title: impl Into<Cow<'static, str>>,
        span: Span,
        table: &'a DeTable<'a>,
        keys: &'static Keys,
    ) -> Section<'a> {
        let title = title.into();
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if !keys.names.contains(&name) {
                let known = format!("{title} has the keys {}", quoted(keys.names));
                let help = did_you_mean(name, keys.names.iter().copied()).unwrap_or(known);
                reader.report(Diagnostic::error(key.span(), format!("unknown key `{name}` in {title}"), help));
            }
        }
        Section { title, span, table: Some(table), keys }
    }

    /// A table that the file leaves out.
    pub(super) fn absent(keys: &'static Keys) -> Section<'a> {
        Section { title: keys.section.into(), span: 0..0, table: None, keys }
    }

    /// The table under a key of this one; absent is empty.
    pub(super) fn section(&self, reader: &mut Reader<'_>, key: &'static str, keys: &'static Keys) -> Section<'a> {
        let Some(value) = self.value(key) else { return Section::absent(keys) };
        match value.get_ref() {
            DeValue::Table(table) => Section::open(reader, keys.section, value.span(), table, keys),
            _ => {
                let help = format!("write {} on a line of its own, and its keys beneath", keys.section);
                reader.report(wrong_type(value, format_args!("`{key}`"), "a table", &help));
                Section::absent(keys)
            }
        }
    }

    /// The tables of `[[key]]`.
    pub(super) fn sections(&self, reader: &mut Reader<'_>, key: &'static str, keys: &'static Keys) -> Vec<Section<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let help = format!("write {} above the keys of each one", keys.section);
        let DeValue::Array(values) = value.get_ref() else {
            reader.report(wrong_type(value, format_args!("`{key}`"), "a list of tables", &help));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for value in values.iter() {
            match value.get_ref() {
                DeValue::Table(table) => {
                    sections.push(Section::open(reader, keys.section, value.span(), table, keys));
                }
                _ => reader.report(wrong_type(value, format_args!("an entry of `{key}`"), "a table", &help)),
            }
        }
        sections
    }

    /// The value of a key.
    pub(super) fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(self.keys.names.contains(&key), "{key} is not among the keys of {}", self.keys.section);
        self.table?.get(key)
    }

    /// Where a key stands; the table's start where it does not.
    pub(super) fn key_span(&self, key: &'static str) -> Span {
        let entry = self.table.and_then(|table| table.get_key_value(key));
        entry.map_or_else(|| self.span.clone(), |(key, _)| key.span())
    }

    /// Reports a key that must be there.
    pub(super) fn missing(&self, reader: &mut Reader<'_>, key: &str, help: &str) {
        let title = format!("{} has no `{key}`", self.title);
        reader.report(Diagnostic::absence(self.span.clone(), title, help));
    }

    /// A text, where it is there.
    pub(super) fn text(&self, reader: &mut Reader<'_>, key: &'static str, help: &str) -> Option<Text> {
        self.value(key).and_then(|value| reader.text(value, format_args!("`{key}`"), help))
    }

    /// A text that must be there.
    pub(super) fn required_text(&self, reader: &mut Reader<'_>, key: &'static str, help: &str) -> Option<Text> {
        if self.value(key).is_none() {
            self.missing(reader, key, help);
        }
        self.text(reader, key, help)
    }

    /// A list of texts, where it is there. Entries that are no texts are reported and left out.
    pub(super) fn texts(&self, reader: &mut Reader<'_>, key: &'static str, help: &str) -> Option<At<Vec<Text>>> {
        let value = self.value(key)?;
        let DeValue::Array(values) = value.get_ref() else {
            reader.report(wrong_type(value, format_args!("`{key}`"), "a list of texts", help));
            return None;
        };
        let what = format_args!("an entry of `{key}`");
        let texts = values.iter().filter_map(|value| reader.text(value, what, help)).collect();
        Some(At { value: texts, span: value.span() })
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, reader: &mut Reader<'_>, key: &'static str, default: bool) -> bool {
        match self.value(key).map(|value| (value, value.get_ref())) {
            None => default,
            Some((_, DeValue::Boolean(flag))) => *flag,
            Some((value, _)) => {
                let help = "write `true` or `false`, without quotes";
                reader.report(wrong_type(value, format_args!("`{key}`"), "true or false", help));
                default
            }
        }
    }

    /// A whole number, where it is there.
    pub(super) fn whole(
        &self,
        reader: &mut Reader<'_>,
        key: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Option<At<u64>> {
        reader.whole(self.value(key)?, format_args!("`{key}`"), bounds)
    }

    /// How many, within bounds, with a default.
    pub(super) fn size(
        &self,
        reader: &mut Reader<'_>,
        key: &'static str,
        bounds: RangeInclusive<u64>,
        default: usize,
    ) -> usize {
        self.whole(reader, key, bounds).and_then(|at| usize::try_from(at.value).ok()).unwrap_or(default)
    }

    /// A duration, where it is there.
    pub(super) fn duration(
        &self,
        reader: &mut Reader<'_>,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
    ) -> Option<At<Duration>> {
        reader.duration(self.value(key)?, format_args!("`{key}`"), bounds)
    }

    /// A timeout: positive, with a default.
    pub(super) fn timeout(&self, reader: &mut Reader<'_>, key: &'static str, default: Duration) -> Duration {
        self.duration(reader, key, duration::POSITIVE).map_or(default, |at| at.value)
    }

    /// One of several words, where it is there.
    pub(super) fn choice<T: Copy>(
        &self,
        reader: &mut Reader<'_>,
        key: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<At<T>> {
        let value = self.value(key)?;
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let help = format!("write one of {}", quoted_texts(&words));
        let text = reader.text(value, format_args!("`{key}`"), &help)?;
        let found = choices.iter().find(|(word, _)| *word == text.value);
        if found.is_none() {
            let title = text.unless_referenced(
                || format!("`{key}` cannot be \"{}\"", text.value),
                &format!("`{key}` cannot be what is referred to"),
            );
            reader.report(Diagnostic::error(text.span.clone(), title, help));
        }
        found.map(|(_, value)| At { value: *value, span: text.span })
    }
}

/// A value of another type than the one that is wanted.
pub(super) fn wrong_type(value: &Spanned<DeValue<'_>>, what: impl Display, wanted: &str, help: &str) -> Diagnostic {
    let is = match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    Diagnostic::error(value.span(), format!("{what} must be {wanted}, and this is {is}"), help)
}

/// `` `a`, `b` ``
pub(super) fn quoted<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// `"a", "b"`
fn quoted_texts(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}
