//! `[[route]]`: what is matched, and what answers it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::declared::Declarations;
use super::diagnostic::{Diagnostic, Span};
use super::rate::{self, RouteLimit};
use super::reference::Origin;
use super::section::{Keys, Reader, Section, Text};
use super::terms::{self, Charge, Priced};
use super::upstream::Upstream;
use super::way::FullWay;
use crate::route::matcher::{Matcher, Tie};
use crate::route::pattern::{HostPattern, Methods, PathPattern, Pattern, PatternError};

/// `[[route]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `name`, else made of methods, host and path as [`Route::shown`]; unique. Visible ASCII and spaces.
    pub name: Arc<str>,
    /// What it matches.
    pub pattern: Pattern,
    /// The pattern for people: `GET api.example.com/v1/*`; without methods `api.example.com/v1/*`, without a host
    /// `GET /v1/*`.
    pub shown: String,
    /// The `[upstreams.NAME]`.
    pub upstream: Arc<str>,
    /// What it costs.
    pub charge: Charge,
    /// How often one may ask.
    pub limit: Option<RouteLimit>,
}

pub(super) const ROUTE: Keys = Keys {
    section: "[[route]]",
    names: &[
        "name",
        "host",
        "path",
        "methods",
        "price",
        "pay",
        "upstream",
        "settle",
        "verify",
        "window",
        "redeliver",
        "limit",
        "free",
        "description",
        "mime_type",
    ],
};

/// A route's name is a metric label and a header value.
const NAME_BYTES_MAX: usize = 200;

const PATH_HELP: &str = "write a path such as \"/exact\", \"/items/{id}\" or \"/files/*\"";
const HOST_HELP: &str = "write a name such as \"api.example.com\" or \"*.example.com\", without a port";
const METHODS_HELP: &str = "write `methods = [\"GET\", \"POST\"]`; HEAD follows GET; leave it out for all methods";
const NAME_HELP: &str = "write at most 200 letters, digits, spaces and signs of ASCII; left out, it is made of methods, \
                         host and path";

/// A route, and what later checks point at.
pub(super) struct ReadRoute {
    pub(super) route: Arc<Route>,
    pub(super) price: Option<Priced>,
}

/// What the routes come to.
pub(super) struct Routes {
    /// Those that are right, in the file's order.
    pub(super) routes: Vec<ReadRoute>,
    pub(super) matcher: Matcher,
}

/// A route's pattern, before names and ties are looked at.
struct Matched {
    at: Span,
    name: Option<Text>,
    pattern: Pattern,
    /// Whether a message may say it: no part of it came from the environment or from a file.
    sayable: bool,
}

/// Reads `[[route]]`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    root: &Section<'_>,
    ways: &Declarations<FullWay>,
    upstreams: &Declarations<Upstream>,
) -> Routes {
    let mut matched: Vec<Matched> = Vec::new();
    let mut charged = Vec::new();
    let sections = root.sections(reader, "route", &ROUTE);
    for section in sections {
        let name = read_name(reader, &section);
        let pattern = read_pattern(reader, &section);
        let upstream = read_upstream(reader, &section, upstreams);
        let charge = terms::read(reader, &section, ways);
        let is_free = matches!(charge, Some((Charge::Free, _)));
        let limit = rate::read_limit(reader, &section, is_free);
        if let Some((mut pattern, sayable)) = pattern {
            pattern.path.any_case = upstream.as_ref().is_some_and(|name| folds_case(upstreams, name));
            matched.push(Matched { at: pattern_span(&section), name, pattern, sayable });
            charged.push((upstream, charge, limit));
        }
    }
    let names = names(reader, &matched);
    let matcher = match Matcher::new(matched.iter().map(|route| route.pattern.clone()).collect()) {
        Ok(matcher) => matcher,
        Err(ties) => {
            // One tie for each route is enough to repair it: of n routes that are the same there are n² pairs.
            let mut reported = HashSet::new();
            for tie in ties.into_iter().filter(|tie| reported.insert(tie.second)) {
                report_tie(reader, tie, &matched);
            }
            Matcher::default()
        }
    };
    let mut routes = Vec::new();
    for ((route, name), (upstream, charge, limit)) in matched.into_iter().zip(names).zip(charged) {
        let (Some(upstream), Some((charge, price))) = (upstream, charge) else { continue };
        let shown = route.pattern.to_string();
        let route = Route { name, pattern: route.pattern, shown, upstream, charge, limit };
        routes.push(ReadRoute { route: Arc::new(route), price });
    }
    Routes { routes, matcher }
}

fn read_name(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Text> {
    let name = section.text(reader, "name", NAME_HELP)?;
    let fits = !name.value.is_empty()
        && name.value.len() <= NAME_BYTES_MAX
        && name.value.trim() == name.value
        && name.value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if !fits {
        reader.report(Diagnostic::error(name.span, "not a name for a route", NAME_HELP));
        return None;
    }
    Some(name)
}

/// With whether a message may say it.
fn read_pattern(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<(Pattern, bool)> {
    let mut sayable = true;
    let host = section.text(reader, "host", HOST_HELP).inspect(|text| sayable &= is_literal(text));
    let host_given = section.value("host").is_some();
    let host = host.and_then(|text| pattern(reader, &text, HostPattern::parse, "not a host", HOST_HELP));
    let path = section.required_text(reader, "path", PATH_HELP).inspect(|text| sayable &= is_literal(text));
    let path = path.and_then(|text| pattern(reader, &text, PathPattern::parse, "not a path", PATH_HELP));
    let methods = read_methods(reader, section);
    if host_given && host.is_none() {
        return None;
    }
    let (methods, methods_sayable) = methods?;
    Some((Pattern { host, path: path?, methods }, sayable && methods_sayable))
}

fn is_literal(text: &Text) -> bool {
    text.origin == Origin::Literal
}

fn pattern<T>(
    reader: &mut Reader<'_>,
    text: &Text,
    parse: impl Fn(&str) -> Result<T, PatternError>,
    what: &str,
    help: &str,
) -> Option<T> {
    match parse(&text.value) {
        Ok(pattern) => Some(pattern),
        Err(PatternError(why)) => {
            let title = text.unless_referenced(|| format!("{what}: {why}"), what);
            reader.report(Diagnostic::error(text.span.clone(), title, help));
            None
        }
    }
}

/// With whether a message may say them.
fn read_methods(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<(Methods, bool)> {
    let Some(texts) = section.texts(reader, "methods", METHODS_HELP) else {
        return section.value("methods").is_none().then_some((Methods::Any, true));
    };
    if texts.value.is_empty() {
        reader.report(Diagnostic::error(texts.span, "`methods` is empty: the route would match nothing", METHODS_HELP));
        return None;
    }
    let mut right = true;
    for text in &texts.value {
        let problem = match Methods::parse(&[&text.value]) {
            Ok(_) if text.value.eq_ignore_ascii_case("CONNECT") => {
                "the gateway does not tunnel: CONNECT never reaches a route".to_owned()
            }
            Ok(_) if text.value.eq_ignore_ascii_case("TRACE") => {
                "the gateway does not forward TRACE: it never reaches a route".to_owned()
            }
            Ok(_) => continue,
            Err(PatternError(why)) => text.unless_referenced(|| why, "not a method"),
        };
        reader.report(Diagnostic::error(text.span.clone(), problem, METHODS_HELP));
        right = false;
    }
    let names: Vec<&str> = texts.value.iter().map(|text| text.value.as_str()).collect();
    let methods = Methods::parse(&names).ok().filter(|_| right)?;
    Some((methods, texts.value.iter().all(is_literal)))
}

fn folds_case(upstreams: &Declarations<Upstream>, name: &str) -> bool {
    upstreams.right().any(|(other, _, upstream)| &**other == name && upstream.case_insensitive)
}

fn read_upstream(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    upstreams: &Declarations<Upstream>,
) -> Option<Arc<str>> {
    let help = "write the NAME of an [upstreams.NAME]";
    if section.value("upstream").is_some() {
        let text = section.text(reader, "upstream", help)?;
        return upstreams.find(reader, &text).map(|(name, _)| name.clone());
    }
    if let Some((name, _)) = upstreams.only() {
        return Some(name.clone());
    }
    let names = upstreams.names();
    let help = if names.is_empty() {
        "add [upstreams.NAME] with `servers = [\"127.0.0.1:3000\"]`".to_owned()
    } else {
        format!("it may be left out where there is one upstream only; there are {}", super::section::quoted(&names))
    };
    section.missing(reader, "upstream", &help);
    None
}

/// Unique names: given, else made of the pattern. Two that are the same are reported.
fn names(reader: &mut Reader<'_>, routes: &[Matched]) -> Vec<Arc<str>> {
    let mut first: HashMap<Arc<str>, &Matched> = HashMap::new();
    let mut names = Vec::new();
    for route in routes {
        let name: Arc<str> = match &route.name {
            Some(name) => name.value.as_str().into(),
            None => route.pattern.to_string().into(),
        };
        match first.get(&name) {
            // Two nameless routes with one name have one pattern: they are reported as a tie.
            Some(other) if route.name.is_some() || other.name.is_some() => {
                let place = |route: &Matched| route.name.as_ref().map_or(route.at.clone(), |name| name.span.clone());
                reader.report(
                    Diagnostic::error(place(route), "two routes have this name", "give each route a name of its own")
                        .also(place(other), "the first one"),
                );
            }
            Some(_) => {}
            None => {
                first.insert(name.clone(), route);
            }
        }
        names.push(name);
    }
    names
}

fn report_tie(reader: &mut Reader<'_>, tie: Tie, routes: &[Matched]) {
    let (Some(first), Some(second)) = (routes.get(tie.first), routes.get(tie.second)) else { return };
    let both = if first.sayable && second.sayable {
        format!("`{}` and `{}`", first.pattern, second.pattern)
    } else {
        "they".to_owned()
    };
    let title = format!("two routes tie: {both} could answer the same request with equal right");
    let help = if first.pattern.path.any_case || second.pattern.path.any_case {
        "their paths match in any case, because an upstream is `case_insensitive`: make one more specific by its host, \
         path or methods, or take one out"
    } else {
        "make one more specific by its host, path or methods, or take one out"
    };
    let diagnostic = Diagnostic::error(second.at.clone(), title, help).label("this one");
    reader.report(diagnostic.also(first.at.clone(), "and this one"));
}

fn pattern_span(section: &Section<'_>) -> Span {
    section.value("path").map_or(section.span.clone(), toml::Spanned::span)
}
