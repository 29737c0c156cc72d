//! What is found, what ties, and the order of specificity over random patterns.

use super::super::pattern::PathPattern;
use super::super::precedence::Precedence;
use super::*;
use proptest::prelude::*;

/// `GET,POST host/path`, methods and host optional; `~` in front: in any case.
fn pattern(text: &str) -> Pattern {
    let (text, any_case) = match text.strip_prefix('~') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (methods, rest) = match text.split_once(' ') {
        Some((methods, rest)) => (Methods::parse(&methods.split(',').collect::<Vec<_>>()).unwrap(), rest),
        None => (Methods::Any, text),
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    let host = (!host.is_empty()).then(|| HostPattern::parse(host).unwrap());
    let path = PathPattern { any_case, ..PathPattern::parse(path).unwrap() };
    Pattern { host, path, methods }
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
        (&["/a", "/A"], &[]),
        (&["~/a", "~/A"], &[tie(0, 1)]),
        (&["/A/{x}", "~/a/{y}"], &[tie(0, 1)]),
        (&["~/{x}/%C3%89", "/b", "~/{y}/%C3%A9"], &[tie(0, 2)]),
        (&["GET /A", "~POST /a", "~a.test/a", "~/a/*"], &[]),
        (&["/a", "/a", "GET /b", "/a", "GET /b"], &[tie(0, 1), tie(0, 3), tie(2, 4)]),
    ];
    for (patterns, expected) in cases {
        let found = Matcher::new(patterns.iter().map(|text| pattern(text)).collect());
        assert_eq!(found.err().unwrap_or_default(), *expected, "{patterns:?}");
    }
}

#[test]
fn an_upstream_that_folds_case_is_matched_so() {
    let patterns = ["~/premium/{id}", "/Free", "~/premium/*", "/Premium/Own", "~/caf%C3%A9"];
    let matcher = matcher(&patterns);
    for (path, expected) in [
        ("/premium/1", Some("~/premium/{id}")),
        ("/PREMIUM/1", Some("~/premium/{id}")),
        ("/pReMiUm", Some("~/premium/*")),
        ("/Premium/Own", Some("/Premium/Own")),
        ("/premium/own", Some("~/premium/{id}")),
        ("/Free", Some("/Free")),
        ("/free", None),
        ("/CAF%C3%89", Some("~/caf%C3%A9")),
    ] {
        assert_eq!(matcher.find("", path, "GET").map(|index| patterns[index]), expected, "{path}");
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
        Segment::Literal(_) => u8::from(pattern.path.any_case),
        Segment::Param(_) => 2,
    };
    let mut kinds: Vec<u8> = pattern.path.segments.iter().map(kind).collect();
    kinds.push(if pattern.path.rest { 4 } else { 3 });
    Some((host, kinds, u8::from(pattern.methods == Methods::Any)))
}

fn any_pattern() -> impl Strategy<Value = String> {
    let methods = prop::sample::select(vec!["", "", "GET ", "HEAD ", "POST ", "GET,POST "]);
    let host = prop::sample::select(vec!["", "", "", "a.t", "b.a.t", "*.t", "*.a.t"]);
    let segment = prop::sample::select(vec!["/a", "/A", "/b", "/@", "/%40", "/{x}"]);
    let path = prop::collection::vec(segment, 0..4);
    let case = prop::sample::select(vec!["", "", "~"]);
    (case, methods, host, path, any::<bool>()).prop_map(|(case, methods, host, path, rest)| {
        // Each parameter its own name.
        let path: String = path.iter().enumerate().map(|(at, part)| part.replace('x', &format!("x{at}"))).collect();
        let end = match (rest, path.is_empty()) {
            (true, _) => "/*",
            (false, true) => "/",
            (false, false) => "",
        };
        format!("{case}{methods}{host}{path}{end}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn it_finds_what_the_rules_say(
        texts in prop::collection::vec(any_pattern(), 1..14),
        requests in prop::collection::vec((
            prop::sample::select(vec!["", "a.t", "b.a.t", "c.b.a.t", "t", "x"]),
            "(/(a|A|b|c|@|%40)){0,4}/?",
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
