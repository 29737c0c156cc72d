//! Which of many patterns answers a request: the most specific one.
//!
//! Of all patterns whose host, path **and** method match, in this order:
//!
//! 1. *Host.* A host by name, then `*.suffix` (the longer suffix first), then any host.
//! 2. *Path*, segment by segment from the left: a literal, then a literal in any case, then `{param}`, then a
//!    trailing `*`.
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
//! One hash look-up per host candidate and per segment of the path, however many patterns there are; one more where
//! literals match in any case. The hash is a quick one: what is looked up is the file's, and no client chooses what
//! lies in a map. It goes back only
//! where a literal and a `{param}` stand at the same place and the literal's branch leads nowhere; never more than once
//! through any place of the tree. Nothing is allocated, except for a segment that holds an escape.

use std::ops::ControlFlow;

use foldhash::HashMap;

use super::escape::{comparable, folded};
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
    /// Literals that match in any case, [`folded`].
    folded: HashMap<Box<str>, Node>,
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
        let mut ties = ties_across_cases(&patterns);
        for (index, pattern) in patterns.into_iter().enumerate() {
            let root = match pattern.host {
                None => &mut matcher.any_host,
                Some(HostPattern::Exact(name)) => matcher.exact_hosts.entry(name.into()).or_default(),
                Some(HostPattern::Suffix(name)) => matcher.suffix_hosts.entry(name.into()).or_default(),
            };
            let node = pattern.path.segments.iter().fold(root, |node, segment| match segment {
                Segment::Literal(text) if pattern.path.any_case => node.folded.entry(folded(text).into()).or_default(),
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
        ties.sort_by_key(|tie| (tie.second, tie.first));
        ties.dedup_by_key(|tie| tie.second);
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
            for suffix in dots.filter_map(|(at, dot)| host.get(at.saturating_add(dot.len())..)) {
                if let Some(root) = self.suffix_hosts.get(suffix) {
                    root.visit(path, method, visitor)?;
                }
            }
        }
        self.any_host.visit(path, method, visitor)
    }
}

/// Patterns that differ in case alone, one of which matches in any. The tree would put the other one first; but they
/// are the same path to whoever folds case, so the file has to say which is meant.
fn ties_across_cases(patterns: &[Pattern]) -> Vec<Tie> {
    if !patterns.iter().any(|pattern| pattern.path.any_case) {
        return Vec::new();
    }
    let mut ties = Vec::new();
    let mut by_shape: HashMap<_, Vec<usize>> = HashMap::default();
    for (second, pattern) in patterns.iter().enumerate() {
        let segment = |segment: &Segment| match segment {
            Segment::Literal(text) => Some(folded(text).into_owned()),
            Segment::Param(_) => None,
        };
        let segments: Vec<Option<String>> = pattern.path.segments.iter().map(segment).collect();
        let same_shape = by_shape.entry((&pattern.host, segments, pattern.path.rest)).or_default();
        let tied = same_shape.iter().find(|first| {
            patterns.get(**first).is_some_and(|other| {
                other.path.any_case != pattern.path.any_case && other.methods.tie_with(&pattern.methods)
            })
        });
        ties.extend(tied.map(|first| Tie { first: *first, second }));
        same_shape.push(second);
    }
    ties
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
                let slash = path.bytes().position(|byte| byte == b'/');
                let (segment, left) = match slash.and_then(|at| path.split_at_checked(at)) {
                    Some((segment, rest)) => (segment, rest.get(1..)),
                    None => (path, None),
                };
                if !self.literals.is_empty()
                    && let Some(node) = self.literals.get(&*comparable(segment))
                {
                    node.visit(left, method, visitor)?;
                }
                if !self.folded.is_empty()
                    && let Some(node) = self.folded.get(&*folded(segment))
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
mod tests;
