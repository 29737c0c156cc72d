//! What is wrong with a file, and how it is shown: position, excerpt with a caret, remedy.

use std::collections::BTreeSet;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, normalize_untrusted_str};

/// Bytes of the file.
pub(super) type Span = Range<usize>;

/// More than so many errors are counted, not shown; the same for warnings.
const SHOWN_MAX: usize = 100;

/// Characters of a message that are shown: of a longer one its beginning and its end.
const MESSAGE_MAX: usize = 1000;

/// Whether a file can be used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Error,
    Warning,
}

/// What kind of finding it is: after a syntax error some kinds only follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The file is not TOML there.
    Syntax,
    /// Something is missing, or refers to what is missing: it may stand in the part that could not be read.
    Absence,
    /// Something that is there is wrong.
    Value,
}

/// One finding.
#[derive(Debug, Clone)]
pub(super) struct Diagnostic {
    pub(super) severity: Severity,
    pub(super) kind: Kind,
    /// What is wrong. Never holds what an environment variable or a file held.
    title: String,
    /// Where.
    pub(super) at: Span,
    /// Stands at the caret.
    label: String,
    /// Other places that have to do with it, each with what it is.
    also: Vec<(Span, String)>,
    /// What would be right.
    help: String,
}

impl Diagnostic {
    /// A value that is wrong.
    pub(super) fn error(at: Span, title: impl Into<String>, help: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            kind: Kind::Value,
            title: one_line(title.into()),
            at,
            label: String::new(),
            also: Vec::new(),
            help: one_line(help.into()),
        }
    }

    /// Something that is missing.
    pub(super) fn absence(at: Span, title: impl Into<String>, help: impl Into<String>) -> Diagnostic {
        Diagnostic { kind: Kind::Absence, ..Diagnostic::error(at, title, help) }
    }

    /// Something that works and that should be looked at.
    pub(super) fn warning(at: Span, title: impl Into<String>, help: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(at, title, help) }
    }

    /// What the TOML parser found.
    pub(super) fn syntax(error: &toml::de::Error, end: usize) -> Diagnostic {
        let at = error.span().unwrap_or(end..end);
        let message = error.message();
        let help = if message.starts_with("duplicate key") {
            "a key stands once in a table: take one out"
        } else if is_unclosed(message) {
            "a list stands in brackets, its entries apart by commas: [\"a\", \"b\"]; look for a bracket that is not closed"
        } else {
            "TOML wants lines of `key = value`; a text stands in double quotes"
        };
        Diagnostic { kind: Kind::Syntax, ..Diagnostic::error(at, format!("not TOML: {message}"), help) }
    }

    /// Words beside the caret.
    pub(super) fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = one_line(label.into());
        self
    }

    /// Another place that has to do with it; nothing where the file does not have it.
    pub(super) fn also(mut self, at: Span, label: impl Into<String>) -> Diagnostic {
        if !at.is_empty() {
            self.also.push((at, one_line(label.into())));
        }
        self
    }
}

/// A message stays one line of bounded length, whatever texts of the file it quotes: the excerpt shows them whole.
fn one_line(text: String) -> String {
    let text = if text.contains(['\r', '\n']) { text.replace('\r', "\\r").replace('\n', "\\n") } else { text };
    let length = text.chars().count();
    if length <= MESSAGE_MAX {
        return text;
    }
    let half = MESSAGE_MAX / 2;
    let begins: String = text.chars().take(half).collect();
    let ends: String = text.chars().skip(length.saturating_sub(half)).collect();
    format!("{begins} … {ends}")
}

/// Findings as text, each complete.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    /// How many errors there are.
    pub(super) errors: usize,
    /// The errors that are shown.
    pub(super) shown_errors: Vec<String>,
    /// The warnings.
    pub(super) warnings: Vec<String>,
}

/// Shows findings in the file's order. `text` is what excerpts are cut from: secrets are masked in it already.
pub(super) fn render(mut diagnostics: Vec<Diagnostic>, file_name: &str, text: &str) -> Rendered {
    drop_consequences(&mut diagnostics, text);
    diagnostics.sort_by_key(|diagnostic| (diagnostic.at.start, diagnostic.at.end));
    let mut rendered = Rendered::default();
    for diagnostic in &diagnostics {
        match diagnostic.severity {
            Severity::Error => {
                rendered.errors = rendered.errors.saturating_add(1);
                if rendered.errors <= SHOWN_MAX {
                    rendered.shown_errors.push(render_one(diagnostic, file_name, text));
                }
            }
            Severity::Warning => {
                if rendered.warnings.len() < SHOWN_MAX {
                    rendered.warnings.push(render_one(diagnostic, file_name, text));
                }
            }
        }
    }
    if let Some(more) = rendered.errors.checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
        rendered.shown_errors.push(format!("error: and {more} more"));
    }
    rendered
}

/// Around a syntax error the recovered tree lacks things and has strange ones: what only follows is left out.
fn drop_consequences(diagnostics: &mut Vec<Diagnostic>, text: &str) {
    let line_starts: Vec<usize> =
        text.match_indices('\n').map(|(at, line_end)| at.saturating_add(line_end.len())).collect();
    let line_of = |at: &Span| line_starts.partition_point(|start| *start <= at.start);
    let broken: BTreeSet<usize> =
        diagnostics.iter().filter(|found| found.kind == Kind::Syntax).map(|found| line_of(&found.at)).collect();
    if broken.is_empty() {
        return;
    }
    diagnostics.sort_by_key(|found| found.at.start);
    let mut complained = BTreeSet::new();
    let mut unclosed = false;
    diagnostics.retain(|found| match (found.kind, found.severity) {
        (Kind::Syntax, _) => {
            // One complaint a line: what comes after is the parser finding its feet. It does not find them in a
            // list that is never closed, to which all that follows seems to belong.
            let kept = complained.insert(line_of(&found.at)) && !unclosed;
            unclosed |= kept && is_unclosed(&found.title);
            kept
        }
        (Kind::Absence, _) | (Kind::Value, Severity::Warning) => false,
        (Kind::Value, Severity::Error) => !broken.contains(&line_of(&found.at)),
    });
}

/// Whether a message of the TOML parser is about a list or inline table that is not closed where it should be.
fn is_unclosed(message: &str) -> bool {
    message.contains("missing comma between")
        || message.contains("unclosed inline table")
        || message.contains("unclosed array,")
}

fn render_one(diagnostic: &Diagnostic, file_name: &str, text: &str) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let primary = AnnotationKind::Primary.span(within(&diagnostic.at, text));
    let snippet = Snippet::source(text)
        .path(file_name)
        .annotation(if diagnostic.label.is_empty() { primary } else { primary.label(diagnostic.label.as_str()) })
        .annotations(diagnostic.also.iter().map(|(at, label)| {
            let context = AnnotationKind::Context.span(within(at, text));
            if label.is_empty() { context } else { context.label(label.as_str()) }
        }));
    let help = normalize_untrusted_str(&diagnostic.help);
    let group = level.primary_title(diagnostic.title.as_str()).element(snippet).element(Level::HELP.message(help));
    let lines = Renderer::plain().render(&[group]);
    let text = lines.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    // The renderer replaces those of ASCII; a terminal takes U+0080 to U+009F for the beginnings of commands, too.
    text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}

/// The span cut to its first line, to the text and to whole characters.
fn within(at: &Span, text: &str) -> Span {
    let floor =
        |index: usize| (0..=index.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    let start = floor(at.start);
    let end = floor(at.end.max(start));
    let line = text.get(start..end).and_then(|span| span.lines().next()).map_or(0, str::len);
    start..start.saturating_add(line)
}
