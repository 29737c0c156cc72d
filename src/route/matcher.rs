//! Which of many patterns answers a request: the most specific one.
//!
//! Of all patterns whose host, path **and** method match, in this order:
//!
//! 1. *Host.* A host by name, then `*.suffix` (the longer suffix first), then any host.
//! 2. *Path*, segment by segment from the left: a literal, then `{param}`, then a trailing `*`.
//! 3. *Method.* A pattern that names it (`GET` names `HEAD` too), then one for any method.
//!
//! A pattern that matches in part only is out of the contest: the search goes back and takes the next one, across
//! methods and hosts too. Two patterns that no rule puts in an order are a [`Tie`], which [`Matcher::new`] refuses;
//! so the order in which patterns are given never decides.
//!
//! # Why no router crate
//!
//! `matchit` (0.8 and 0.9), `wayfind` (1.1) and `path-tree` (0.8) look up a path and answer with its one winner. They
//! know neither host nor method, so a method mismatch cannot fall through to the next candidate (`POST /a/b` must find
//! `POST /a/*` behind `GET /a/b`), and they do not tell the runners-up, which `explain` shows. Nor would their
//! catch-all match the path it hangs from: in matchit `/files/{*rest}` matches neither `/files` nor `/files/`. What
//! would be left of them is the tree below.
//!
//! # Cost
//!
//! One hash look-up per host candidate and per segment of the path, however many patterns there are. It goes back only
//! where a literal and a `{param}` stand at the same place and the literal's branch leads nowhere; never more than once
//! through any place of the tree. Nothing is allocated, except for a segment that holds an escape.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::escape::comparable;
use super::pattern::{HostPattern, Methods, Pattern, Segment};

/// Finds the most specific pattern; its cost does not grow with the number of patterns.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    exact_hosts: HashMap<Box<str>, Node>,
    /// By what stands behind `*.`.
    suffix_hosts: HashMap<Box<str>, Node>,
    any_host: Node,
}

/// Two patterns that could answer the same request with equal right; indexes into what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tie {
    /// The one that was given first.
    pub first: usize,
    /// The one that ties with it.
    pub second: usize,
}

/// A place in the tree of segments.
#[derive(Debug, Clone, Default)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    param: Option<Box<Node>>,
    /// Patterns that end here.
    exact: Vec<Entry>,
    /// Patterns that end here in `/*`.
    rest: Vec<Entry>,
}

/// A pattern at its place; those for any method stand last.
#[derive(Debug, Clone)]
struct Entry {
    methods: Methods,
    index: usize,
}

impl Matcher {
    /// Compiles patterns. Each that ties with an earlier one is reported, with the first that it ties with.
    pub fn new(patterns: Vec<Pattern>) -> Result<Matcher, Vec<Tie>> {
        let mut matcher = Matcher::default();
        let mut ties = Vec::new();
        for (index, pattern) in patterns.into_iter().enumerate() {
            let root = match pattern.host {
                None => &mut matcher.any_host,
                Some(HostPattern::Exact(name)) => matcher.exact_hosts.entry(name.into()).or_default(),
                Some(HostPattern::Suffix(name)) => matcher.suffix_hosts.entry(name.into()).or_default(),
            };
            let node = pattern.path.segments.iter().fold(root, |node, segment| match segment {
                Segment::Literal(text) => node.literals.entry(comparable(text).into()).or_default(),
                Segment::Param(_) => node.param.get_or_insert_default(),
            });
            let entries = if pattern.path.rest { &mut node.rest } else { &mut node.exact };
            if let Some(tied) = entries.iter().find(|entry| entry.methods.tie_with(&pattern.methods)) {
                ties.push(Tie { first: tied.index, second: index });
                continue;
            }
            let at = match &pattern.methods {
                Methods::Any => entries.len(),
                Methods::Only(_) => entries.partition_point(|entry| entry.methods != Methods::Any),
            };
            entries.insert(at, Entry { methods: pattern.methods, index });
        }
        if ties.is_empty() { Ok(matcher) } else { Err(ties) }
    }

    /// The index of the pattern that answers. `host` is in lower case and without a port (see
    /// [`super::host::canonical_host`]; empty where none is known: only patterns for any host match); `path` is
    /// canonical.
    pub fn find(&self, host: &str, path: &str, method: &str) -> Option<usize> {
        let mut found = None;
        let _ = self.visit(host, path, method, &mut |index| {
            found = Some(index);
            ControlFlow::Break(())
        });
        found
    }

    /// Every pattern that matches, the winner first: for `explain`.
    pub fn candidates(&self, host: &str, path: &str, method: &str) -> Vec<usize> {
        let mut all = Vec::new();
        let _ = self.visit(host, path, method, &mut |index| {
            all.push(index);
            ControlFlow::Continue(())
        });
        all
    }

    /// Shows every match to `visitor`, the most specific first, until it has seen enough.
    fn visit(
        &self,
        host: &str,
        path: &str,
        method: &str,
        visitor: &mut impl FnMut(usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let path = if path.is_empty() { None } else { Some(path) };
        if let Some(root) = self.exact_hosts.get(host) {
            root.visit(path, method, visitor)?;
        }
        if !self.suffix_hosts.is_empty() {
            // From the left, so the longest suffix comes first. An empty label is no label.
            let dots = host.match_indices('.').filter(|(at, _)| *at > 0);
            for suffix in dots.filter_map(|(at, _)| host.get(at + 1..)) {
                if let Some(root) = self.suffix_hosts.get(suffix) {
                    root.visit(path, method, visitor)?;
                }
            }
        }
        self.any_host.visit(path, method, visitor)
    }
}

impl Node {
    /// `path` is what is left of it, without the slash in front; `None` at its end. As deep as the longest pattern,
    /// which [`super::pattern::SEGMENTS_MAX`] bounds.
    fn visit(
        &self,
        path: Option<&str>,
        method: &str,
        visitor: &mut impl FnMut(usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let here = match path {
            None => self.exact.as_slice(),
            Some(path) => {
                let (segment, left) = match path.split_once('/') {
                    Some((segment, left)) => (segment, Some(left)),
                    None => (path, None),
                };
                if !self.literals.is_empty()
                    && let Some(node) = self.literals.get(&*comparable(segment))
                {
                    node.visit(left, method, visitor)?;
                }
                if let Some(node) = &self.param {
                    node.visit(left, method, visitor)?;
                }
                &[]
            }
        };
        for entry in here.iter().chain(&self.rest) {
            if entry.methods.allow(method) {
                visitor(entry.index)?;
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::PathPattern;
    use super::super::precedence::Precedence;
    use super::*;
    use proptest::prelude::*;

    /// `GET,POST host/path`, methods and host optional.
    fn pattern(text: &str) -> Pattern {
        let (methods, rest) = match text.split_once(' ') {
            Some((methods, rest)) => (Methods::parse(&methods.split(',').collect::<Vec<_>>()).unwrap(), rest),
            None => (Methods::Any, text),
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap());
        let host = (!host.is_empty()).then(|| HostPattern::parse(host).unwrap());
        Pattern { host, path: PathPattern::parse(path).unwrap(), methods }
    }

    fn matcher(patterns: &[&str]) -> Matcher {
        Matcher::new(patterns.iter().map(|text| pattern(text)).collect()).unwrap()
    }

    #[test]
    fn the_most_specific_pattern_answers() {
        let patterns = [
            "/*",
            "/items/{id}",
            "/items/special",
            "/items/*",
            "GET /items/special",
            "POST /items/{id}",
            "api.example.com/*",
            "*.example.com/items/{id}",
            "*.eu.example.com/{any}/x",
            "/items/{id}/parts/{part}",
            "/items/special/*",
            "GET api.example.com/only-get",
            "/",
        ];
        let matcher = matcher(&patterns);
        for (request, expected) in [
            ("GET any.test /", Some("/")),
            ("GET any.test /nothing/like/it", Some("/*")),
            ("GET any.test /items", Some("/items/*")),
            ("GET any.test /items/", Some("/items/*")),
            ("GET any.test /items/7", Some("/items/{id}")),
            ("GET any.test /items/7/", Some("/items/{id}")),
            ("POST any.test /items/7", Some("POST /items/{id}")),
            ("GET any.test /items/special", Some("GET /items/special")),
            ("HEAD any.test /items/special", Some("GET /items/special")),
            ("get any.test /items/special", Some("GET /items/special")),
            ("PUT any.test /items/special", Some("/items/special")),
            ("GET any.test /items/special/parts/9", Some("/items/special/*")),
            ("GET any.test /items/7/parts/9", Some("/items/{id}/parts/{part}")),
            // Back from `{id}/parts` to `/items/*`.
            ("GET any.test /items/7/parts", Some("/items/*")),
            // A host by name before any path of a less specific host.
            ("GET api.example.com /items/7", Some("api.example.com/*")),
            ("GET www.example.com /items/7", Some("*.example.com/items/{id}")),
            ("GET example.com /items/7", Some("/items/{id}")),
            // The longer suffix first; what it does not match falls through to the shorter one, then to any host.
            ("GET a.eu.example.com /items/x", Some("*.eu.example.com/{any}/x")),
            ("GET a.eu.example.com /items/7", Some("*.example.com/items/{id}")),
            ("GET a.eu.example.com /else", Some("/*")),
            ("GET .example.com /items/7", Some("/items/{id}")),
            ("GET api.example.com /only-get", Some("GET api.example.com/only-get")),
            // A method mismatch falls through.
            ("POST api.example.com /only-get", Some("api.example.com/*")),
        ] {
            let mut parts = request.split(' ');
            let [method, host, path] = [(); 3].map(|()| parts.next().unwrap());
            let found = matcher.find(host, path, method).map(|index| patterns[index]);
            assert_eq!(found, expected, "{request}");
        }
    }

    #[test]
    fn no_pattern_no_answer() {
        let matcher = matcher(&["GET /a/b", "api.example.com/c"]);
        for (method, host, path) in [
            ("GET", "", "/"),
            ("GET", "", "/a"),
            ("GET", "", "/a/b/c"),
            ("GET", "", "/A/b"),
            ("POST", "", "/a/b"),
            ("GET", "", "/c"),
            ("GET", "www.api.example.com", "/c"),
        ] {
            assert_eq!(matcher.find(host, path, method), None, "{method} {host} {path}");
        }
        assert_eq!(Matcher::default().find("", "/", "GET"), None);
    }

    #[test]
    fn ties_are_reported_all_at_once() {
        let tie = |first, second| Tie { first, second };
        let cases: &[(&[&str], &[Tie])] = &[
            (&["/a", "/b", "/a"], &[tie(0, 2)]),
            (&["/a", "/a/"], &[tie(0, 1)]),
            (&["/{x}/a", "/{y}/a"], &[tie(0, 1)]),
            (&["/a/*", "/a"], &[]),
            (&["/a/{x}", "/a/*"], &[]),
            (&["GET /a", "/a"], &[]),
            (&["GET /a", "POST /a"], &[]),
            (&["GET,POST /a", "PUT,POST /a"], &[tie(0, 1)]),
            (&["GET /a", "HEAD /a"], &[tie(0, 1)]),
            (&["HEAD /a", "GET /a"], &[tie(0, 1)]),
            (&["a.test/a", "b.test/a", "/a", "*.test/a"], &[]),
            (&["*.test/a", "*.test/a"], &[tie(0, 1)]),
            (&["/users/@me", "/users/%40me"], &[tie(0, 1)]),
            (&["/a", "/a", "GET /b", "/a", "GET /b"], &[tie(0, 1), tie(0, 3), tie(2, 4)]),
        ];
        for (patterns, expected) in cases {
            let found = Matcher::new(patterns.iter().map(|text| pattern(text)).collect());
            assert_eq!(found.err().unwrap_or_default(), *expected, "{patterns:?}");
        }
    }

    #[test]
    fn a_literal_is_found_in_either_spelling() {
        let matcher = matcher(&["/users/@me", "/users/{id}"]);
        assert_eq!(matcher.find("", "/users/%40me", "GET"), Some(0));
        assert_eq!(matcher.find("", "/users/%40you", "GET"), Some(1));
    }

    /// How specific a match is, smaller before larger, from the rules alone.
    fn score(pattern: &Pattern, host: &str, path: &str, method: &str) -> Option<(Vec<i64>, Vec<u8>, u8)> {
        let host = match &pattern.host {
            Some(rule) if !rule.matches(host) => return None,
            Some(HostPattern::Exact(_)) => vec![0],
            Some(HostPattern::Suffix(name)) => vec![1, -(name.len() as i64)],
            None => vec![2],
        };
        if !pattern.path.matches(path) || !pattern.methods.allow(method) {
            return None;
        }
        let kind = |segment: &Segment| match segment {
            Segment::Literal(_) => 0,
            Segment::Param(_) => 1,
        };
        let mut kinds: Vec<u8> = pattern.path.segments.iter().map(kind).collect();
        kinds.push(if pattern.path.rest { 3 } else { 2 });
        Some((host, kinds, u8::from(pattern.methods == Methods::Any)))
    }

    fn any_pattern() -> impl Strategy<Value = String> {
        let methods = prop::sample::select(vec!["", "", "GET ", "HEAD ", "POST ", "GET,POST "]);
        let host = prop::sample::select(vec!["", "", "", "a.t", "b.a.t", "*.t", "*.a.t"]);
        let segment = prop::sample::select(vec!["/a", "/b", "/@", "/%40", "/{x}"]);
        let path = prop::collection::vec(segment, 0..4);
        (methods, host, path, any::<bool>()).prop_map(|(methods, host, path, rest)| {
            // Each parameter its own name.
            let path: String = path.iter().enumerate().map(|(at, part)| part.replace('x', &format!("x{at}"))).collect();
            let end = match (rest, path.is_empty()) {
                (true, _) => "/*",
                (false, true) => "/",
                (false, false) => "",
            };
            format!("{methods}{host}{path}{end}")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        #[test]
        fn it_finds_what_the_rules_say(
            texts in prop::collection::vec(any_pattern(), 1..14),
            requests in prop::collection::vec((
                prop::sample::select(vec!["", "a.t", "b.a.t", "c.b.a.t", "t", "x"]),
                "(/(a|b|c|@|%40)){0,4}/?",
                prop::sample::select(vec!["GET", "HEAD", "POST", "get"]),
            ), 1..20),
        ) {
            let mut patterns: Vec<Pattern> = Vec::new();
            for text in &texts {
                patterns.push(pattern(text));
                if Matcher::new(patterns.clone()).is_err() {
                    patterns.pop();
                }
            }
            let matcher = Matcher::new(patterns.clone()).unwrap();
            for (host, path, method) in &requests {
                let path = if path.is_empty() { "/" } else { path };
                let mut scored: Vec<_> = patterns.iter().enumerate()
                    .filter_map(|(index, pattern)| Some((score(pattern, host, path, method)?, index)))
                    .collect();
                scored.sort();
                prop_assert!(scored.windows(2).all(|pair| pair[0].0 != pair[1].0), "no two are equal: {:?}", scored);
                let expected: Vec<usize> = scored.into_iter().map(|(_, index)| index).collect();
                let candidates = matcher.candidates(host, path, method);
                prop_assert_eq!(&candidates, &expected, "{} {} {}", host, path, method);
                prop_assert_eq!(matcher.find(host, path, method), candidates.first().copied());
                for (at, first) in candidates.iter().enumerate() {
                    for then in &candidates[at + 1..] {
                        let (first, then) = (&patterns[*first], &patterns[*then]);
                        prop_assert!(Precedence::of(first, then).is_some(), "{} comes before {}", first, then);
                        prop_assert_eq!(Precedence::of(then, first), None, "{} does not come before {}", then, first);
                    }
                }
            }
        }
    }
}
