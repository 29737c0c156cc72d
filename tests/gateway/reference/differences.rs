//! Two answers beside each other, and the table of the differences that are meant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use farebox::x402::Dialect;
use serde::Deserialize;
use serde_json::Value;

use super::recording::{Answer, Recording};

/// Characters of a value that a table shows.
const SHOWN_MAX: usize = 72;

/// One thing in which two answers differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `answer` where not even the status is the same; else the field, such as `challenge.error`.
    pub what: String,
    pub reference: String,
    pub farebox: String,
}

/// A difference that is meant, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// When it occurs, in a reader's words.
    when: String,
    what: String,
    reference: String,
    farebox: String,
    /// Why Farebox's answer is the better one.
    why: String,
    /// The only cases that it is meant for (`v2/29-base64url`); without it, any.
    #[serde(default)]
    cases: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    difference: Vec<Declared>,
}

/// The table's entries.
pub fn declared(toml: &str) -> Vec<Declared> {
    toml::from_str::<Table>(toml).expect("the table of differences").difference
}

impl Declared {
    fn is_of(&self, case: &str, found: &Difference) -> bool {
        (self.cases.is_empty() || self.cases.iter().any(|meant| meant == case))
            && self.what == found.what
            && fits(&self.reference, &found.reference)
            && fits(&self.farebox, &found.farebox)
    }
}

/// Whether a value is the declared one; an ellipsis at the end of that stands for anything.
fn fits(declared: &str, found: &str) -> bool {
    match declared.strip_suffix('…') {
        Some(start) => found.starts_with(start),
        None => found == declared,
    }
}

/// Everything in which Farebox's answer differs from the reference's.
///
/// The terms of a 402 stand in the body in v1 and in a header in v2; Farebox sends both.
pub fn compare(dialect: Dialect, reference: &Answer, farebox: &Answer) -> Vec<Difference> {
    if reference.status != farebox.status {
        let (reference, farebox) = (in_short(reference), in_short(farebox));
        return vec![Difference { what: "answer".into(), reference, farebox }];
    }
    let mut found = Vec::new();
    let (challenge, body) = match dialect {
        Dialect::V1 if reference.status == 402 => ("PAYMENT-REQUIRED", "terms"),
        Dialect::V1 | Dialect::V2 => ("terms", "body"),
    };
    let text = |value: &Option<String>| value.clone().map(Value::from);
    for (what, reference, farebox) in [
        ("content-type", text(&reference.content_type), text(&farebox.content_type)),
        ("cache-control", text(&reference.cache_control), text(&farebox.cache_control)),
        (challenge, reference.challenge.clone(), farebox.challenge.clone()),
        (body, Some(reference.body.clone()), Some(farebox.body.clone())),
        ("settlement", reference.settlement.clone(), farebox.settlement.clone()),
    ] {
        walk(what, reference.as_ref(), farebox.as_ref(), &mut found);
    }
    found
}

/// Goes down to the values that differ, as long as both sides have something to go down into.
fn walk(what: &str, reference: Option<&Value>, farebox: Option<&Value>, found: &mut Vec<Difference>) {
    match (reference, farebox) {
        (Some(Value::Object(a)), Some(Value::Object(b))) if !a.is_empty() && !b.is_empty() => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                walk(&format!("{what}.{key}"), a.get(key), b.get(key), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            for (a, b) in a.iter().zip(b) {
                walk(&format!("{what}[]"), Some(a), Some(b), found);
            }
        }
        (a, b) if a == b || (is_transaction(what, a) && is_transaction(what, b)) => {}
        (a, b) => found.push(Difference { what: what.into(), reference: shown(a), farebox: shown(b) }),
    }
}

/// Whose hash no two chains have in common.
fn is_transaction(what: &str, value: Option<&Value>) -> bool {
    let hash = value.and_then(Value::as_str).and_then(|text| text.strip_prefix("0x"));
    what == "settlement.transaction" && hash.is_some_and(|hash| hash.len() == 64)
}

/// Status, error, and whether it has terms and a settlement.
fn in_short(answer: &Answer) -> String {
    let mut text = answer.status.to_string();
    let error =
        [answer.challenge.as_ref(), Some(&answer.body)].into_iter().flatten().find_map(|json| json.get("error"));
    if let Some(error) = error {
        let _ = write!(text, " {}", shown(Some(error)));
    }
    if answer.challenge.as_ref().or(Some(&answer.body)).is_some_and(|json| json.get("accepts").is_some()) {
        text.push_str(", terms");
    }
    match &answer.settlement {
        None => {}
        Some(settlement) => {
            let _ = write!(text, ", {}", shown(Some(settlement)));
        }
    }
    text
}

/// A value as the table has it.
fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None => return "nothing".into(),
        Some(Value::String(text)) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        Some(value) if value.get("accepts").is_some() => format!("the v{} terms", value["x402Version"]),
        Some(value) if value["success"] == true => "settled".into(),
        Some(value) if value["success"] == false => "not settled, errorReason".into(),
        Some(value) => value.to_string(),
    };
    match text.char_indices().nth(SHOWN_MAX) {
        None => text,
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

/// The differences of each case, under the entries that declare them.
pub struct Findings {
    declared: Vec<Declared>,
    /// The cases of each entry.
    occurred: Vec<BTreeMap<u8, BTreeSet<String>>>,
    undeclared: Vec<String>,
    cases: usize,
    equal: usize,
}

impl Findings {
    pub fn new(declared: Vec<Declared>) -> Findings {
        let occurred = declared.iter().map(|_| BTreeMap::new()).collect();
        Findings { declared, occurred, undeclared: Vec::new(), cases: 0, equal: 0 }
    }

    /// Takes in one case.
    pub fn add(&mut self, dialect: Dialect, recording: &Recording, farebox: &Answer) {
        let Recording { name, note, answer, .. } = recording;
        let case = format!("v{}/{name}", dialect.version());
        self.cases += 1;
        let found = compare(dialect, answer, farebox);
        self.equal += usize::from(!found.iter().any(|difference| difference.what == "answer"));
        for difference in found {
            match self.declared.iter().position(|declared| declared.is_of(&case, &difference)) {
                Some(index) => drop(self.occurred[index].entry(dialect.version()).or_default().insert(name.clone())),
                None => self.undeclared.push(format!("{case} ({note}): {difference:?}")),
            }
        }
    }

    /// What is wrong with the table: differences that it lacks, and entries that nothing occurred for.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.undeclared.iter().map(|found| format!("undeclared: {found}")).collect();
        for (declared, occurred) in self.declared.iter().zip(&self.occurred) {
            if occurred.is_empty() {
                faults.push(format!("declared, but it does not occur: {declared:?}"));
            }
            for case in &declared.cases {
                let happened = occurred
                    .iter()
                    .any(|(version, names)| names.iter().any(|name| format!("v{version}/{name}") == *case));
                if !happened && !occurred.is_empty() {
                    faults.push(format!("declared for {case}, where it does not occur: {declared:?}"));
                }
            }
        }
        faults
    }

    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "{} requests to reference sellers of both versions were recorded with their answers \
             ([tests/golden/reference](../tests/golden/reference)). A test asks Farebox the same, with payments that \
             are right or wrong for the same reason. {} of them get the same status. Whatever else differs, in status, \
             `Content-Type`, `Cache-Control`, terms, settlement or body, is one of these; the cases are the numbers of \
             the recordings, and … stands for what varies.\n\n\
            | request | reference seller | Farebox | why | cases |\n|---|---|---|---|---|\n",
            self.cases, self.equal
        );
        for (declared, occurred) in self.declared.iter().zip(&self.occurred) {
            let Declared { when, what, reference, farebox, why, .. } = declared;
            let field = if what == "answer" { String::new() } else { format!("`{what}`: ") };
            let cases: Vec<String> =
                occurred.iter().map(|(version, names)| format!("v{version}: {}", numbers(names))).collect();
            let cell = |text: &str| text.replace('|', "\\|");
            let _ = writeln!(
                text,
                "| {} | {field}{} | {field}{} | {} | {} |",
                cell(when),
                cell(reference),
                cell(farebox),
                cell(why),
                cases.join("; ")
            );
        }
        text
    }
}

/// The numbers that files' names begin with, neighbours as ranges.
fn numbers(names: &BTreeSet<String>) -> String {
    let numbers = names.iter().map(|name| name.split('-').next().and_then(|n| n.parse().ok()).expect("a number"));
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let texts = ranges.into_iter().map(|(first, last)| match last - first {
        0 => format!("{first}"),
        _ => format!("{first}–{last}"),
    });
    texts.collect::<Vec<_>>().join(", ")
}
