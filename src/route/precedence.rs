//! Why one pattern answers before another, for people.

use std::fmt;

use super::escape::{comparable, folded};
use super::pattern::{HostPattern, Methods, Pattern, Segment};

/// The part in which one pattern is more specific than another; see [`super::matcher`] for the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precedence {
    /// The hosts decide.
    Host {
        /// Of the pattern that comes first.
        first: HostPattern,
        /// Of the other one; `None`: any host.
        then: Option<HostPattern>,
    },
    /// A segment of the paths decides.
    Segment {
        /// Counted from 1.
        position: usize,
        /// Of the pattern that comes first; `None`: its path ends before it.
        first: Option<Segment>,
        /// Of the other one; `None`: its `*`.
        then: Option<Segment>,
    },
    /// It names its methods, and the other one is for any.
    Methods {
        /// Those it names.
        first: Methods,
    },
}

impl Precedence {
    /// Why `first` comes before `then` for a request that both match; `None` where it does not.
    pub fn of(first: &Pattern, then: &Pattern) -> Option<Precedence> {
        if first.host != then.host {
            let earlier = match (&first.host, &then.host) {
                (Some(HostPattern::Exact(_)), Some(HostPattern::Suffix(_))) => true,
                (Some(HostPattern::Suffix(first)), Some(HostPattern::Suffix(then))) => first.len() > then.len(),
                (Some(_), None) => true,
                (Some(HostPattern::Suffix(_) | HostPattern::Exact(_)), Some(HostPattern::Exact(_))) | (None, _) => {
                    false
                }
            };
            let first = first.host.clone().filter(|_| earlier)?;
            return Some(Precedence::Host { first, then: then.host.clone() });
        }
        let (loose, other_loose) = (first.path.any_case, then.path.any_case);
        let longest = first.path.segments.len().max(then.path.segments.len());
        // One further than both, where `*` may follow on either.
        for at in 0..=longest {
            let segment = |pattern: &Pattern| pattern.path.segments.get(at).cloned();
            let (mine, theirs) = (segment(first), segment(then));
            let earlier = match (&mine, &theirs) {
                (Some(Segment::Literal(a)), Some(Segment::Literal(b))) if loose != other_loose => {
                    other_loose && folded(a) == folded(b)
                }
                (Some(Segment::Literal(a)), Some(Segment::Literal(b)))
                    if comparable(a) == comparable(b) || (loose && folded(a) == folded(b)) =>
                {
                    continue;
                }
                (Some(Segment::Param(_)), Some(Segment::Param(_))) => continue,
                (None, None) if first.path.rest == then.path.rest => break,
                (Some(Segment::Literal(_)), Some(Segment::Param(_))) => true,
                (Some(_), None) => then.path.rest,
                (None, None) => !first.path.rest,
                (Some(Segment::Literal(_) | Segment::Param(_)), Some(Segment::Literal(_))) | (None, Some(_)) => false,
            };
            return earlier.then_some(Precedence::Segment {
                position: at.saturating_add(1),
                first: mine,
                then: theirs,
            });
        }
        match (&first.methods, &then.methods) {
            (Methods::Only(_), Methods::Any) => Some(Precedence::Methods { first: first.methods.clone() }),
            (Methods::Only(_), Methods::Only(_)) | (Methods::Any, Methods::Any | Methods::Only(_)) => None,
        }
    }
}

impl fmt::Display for Precedence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Precedence::Host { first, then: Some(then) } => write!(f, "host: {first} before {then}"),
            Precedence::Host { first, then: None } => write!(f, "host: {first} before any host"),
            Precedence::Segment { position, first, then } => {
                write!(f, "segment {position}: ")?;
                match first {
                    Some(Segment::Literal(literal)) => write!(f, "literal `{literal}`")?,
                    Some(Segment::Param(name)) => write!(f, "`{{{name}}}`")?,
                    None => f.write_str("the end of the path")?,
                }
                match then {
                    Some(segment) => write!(f, " before `{segment}`"),
                    None => f.write_str(" before `*`"),
                }
            }
            Precedence::Methods { first } => write!(f, "methods: {first} by name before any method"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::PathPattern;
    use super::*;

    fn pattern(methods: &str, host: &str, path: &str) -> Pattern {
        Pattern {
            host: (!host.is_empty()).then(|| HostPattern::parse(host).unwrap()),
            path: PathPattern::parse(path).unwrap(),
            methods: if methods.is_empty() { Methods::Any } else { Methods::parse(&[methods]).unwrap() },
        }
    }

    #[test]
    fn each_rule_has_its_words_and_only_one_direction() {
        let cases = [
            (("", "a.b.c", "/*"), ("", "*.b.c", "/x"), "host: a.b.c before *.b.c"),
            (("", "*.b.c", "/*"), ("", "*.c", "/x"), "host: *.b.c before *.c"),
            (("", "*.b.c", "/*"), ("GET", "", "/x"), "host: *.b.c before any host"),
            (("", "", "/v1/premium"), ("GET", "", "/v1/{id}"), "segment 2: literal `premium` before `{id}`"),
            (("", "", "/v1/premium/{x}"), ("", "", "/v1/*"), "segment 2: literal `premium` before `*`"),
            (("", "", "/v1/{id}"), ("", "", "/v1/*"), "segment 2: `{id}` before `*`"),
            (("", "", "/v1"), ("GET", "", "/v1/*"), "segment 2: the end of the path before `*`"),
            (("GET", "", "/{a}"), ("", "", "/{b}"), "methods: GET by name before any method"),
        ];
        for (first, then, expected) in cases {
            let (first, then) = (pattern(first.0, first.1, first.2), pattern(then.0, then.1, then.2));
            let shown = Precedence::of(&first, &then).map(|precedence| precedence.to_string());
            assert_eq!(shown.as_deref(), Some(expected));
            assert_eq!(Precedence::of(&then, &first), None, "{then} before {first}");
        }
    }

    #[test]
    fn equals_have_no_order() {
        let (a, b) = (pattern("GET", "", "/{a}/%40"), pattern("POST", "", "/{b}/@"));
        assert_eq!(Precedence::of(&a, &b), None);
        assert_eq!(Precedence::of(&a, &a), None);
    }
}
