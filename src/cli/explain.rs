//! `farebox explain`: which route answers a request, why, and what it costs.
//!
//! [`explain`] asks the same matcher that the gateway asks, so it cannot say anything else than what would happen. It
//! opens no socket.

mod price;
mod text;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::config::{self, Config, Route, Unmatched};
use crate::gate::unfit::Unfit;
use crate::route::canonical::{CanonicalTarget, Step};
use crate::route::host::canonical_host;
use crate::route::pattern::Methods;
use crate::route::precedence::Precedence;

pub use price::{FreeRequests, OpenWindow, Price, PricedOffer, RequestLimit};

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exits 0 when a route answers, 1 when none does, 2 when the config is not right.")]
pub struct Args {
    /// The request's method.
    #[arg(value_parser = read_method)]
    method: String,
    /// A URL, or a path alone: then only routes for any host are considered.
    url: String,
    /// The config file.
    #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Carries it out.
pub fn run(args: Args) -> ExitCode {
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(report) => {
            let _ = writeln!(std::io::stderr(), "{report}");
            return ExitCode::from(super::EXIT_TROUBLE);
        }
    };
    let explanation = explain(&loaded.config, &args.method, &args.url);
    let text = if args.json { serde_json::to_string_pretty(&explanation) } else { Ok(explanation.to_string()) };
    match text.map(|text| writeln!(std::io::stdout(), "{}", text.trim_end())) {
        // Who reads no further, as `head` does, has read enough.
        Ok(_) => explanation.exit_code(),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::from(super::EXIT_TROUBLE)
        }
    }
}

fn read_method(text: &str) -> Result<String, String> {
    Methods::parse(&[text]).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// What would become of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// As given.
    pub method: String,
    /// In the form that is matched; `None` where only a path was given.
    pub host: Option<String>,
    /// As a client would send it.
    pub target: String,
    /// What is forwarded; `None` where there is none.
    pub canonical: Option<String>,
    /// How the path became canonical, and in what form it was compared; empty where it was both already.
    pub steps: Vec<PathStep>,
    /// What becomes of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The other routes that match, the next best first.
    pub runners_up: Vec<RunnerUp>,
    /// Where only a path was given: routes of certain hosts that would match it there.
    pub on_other_hosts: Vec<RouteName>,
}

/// A step that changed the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathStep {
    /// What was done.
    pub step: &'static str,
    /// The path after it.
    pub path: String,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It could be read in two ways, or is what no proxy should forward.
    Refused {
        /// The answer's status.
        status: u16,
        /// Machine-readable.
        reason: &'static str,
        /// A sentence.
        detail: String,
    },
    /// No route matches, and `unmatched = "deny"`: 404.
    Denied,
    /// No route matches, and `unmatched = "free"`: forwarded, free of charge.
    Unmatched {
        /// Where to.
        upstream: UpstreamName,
    },
    /// A route answers.
    Answered {
        /// Which.
        route: RouteName,
        /// How often one may ask; `None`: any number of times.
        limit: Option<RequestLimit>,
        /// What it costs.
        price: Price,
        /// Where it is forwarded to.
        upstream: UpstreamName,
    },
}

/// A route, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteName {
    /// Its name.
    pub name: String,
    /// What it matches, as the file has it.
    pub pattern: String,
}

/// A route that matches and does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunnerUp {
    /// Which.
    #[serde(flatten)]
    pub route: RouteName,
    /// In what the route that answers is more specific.
    pub because: String,
}

/// An upstream, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpstreamName {
    /// Its name.
    pub name: String,
    /// `http://host:port` each.
    pub servers: Vec<String>,
}

/// Judges a request as the gateway would, without making it.
pub fn explain(config: &Config, method: &str, url: &str) -> Explanation {
    let (authority, target) = as_sent(url);
    let mut explanation = Explanation {
        method: method.to_owned(),
        host: None,
        target,
        canonical: None,
        steps: Vec::new(),
        outcome: Outcome::Denied,
        runners_up: Vec::new(),
        on_other_hosts: Vec::new(),
    };
    if let Some(authority) = authority {
        match canonical_host(authority) {
            Ok(host) => explanation.host = Some(host.into_owned()),
            Err(_) => {
                explanation.outcome = Outcome::unfit(Unfit::NotAHost);
                return explanation;
            }
        }
    }
    let unfit = [("CONNECT", Unfit::Tunnel), ("TRACE", Unfit::Trace)];
    if let Some((_, unfit)) = unfit.into_iter().find(|(refused, _)| refused.eq_ignore_ascii_case(method)) {
        explanation.outcome = Outcome::unfit(unfit);
        return explanation;
    }
    let steps = &mut explanation.steps;
    let on_step = |step, path: &str| steps.push(PathStep { step: step_name(step), path: path.to_owned() });
    let canonical = match CanonicalTarget::parse_by_steps(explanation.target.as_bytes(), on_step) {
        Ok(canonical) => canonical.into_owned(),
        Err(ambiguous) => {
            let (reason, detail) = (ambiguous.reason(), ambiguous.to_string());
            explanation.outcome = Outcome::Refused { status: 400, reason, detail };
            return explanation;
        }
    };
    explanation.canonical = Some(canonical.path_and_query().to_owned());
    let host = explanation.host.as_deref().unwrap_or_default();
    let matches = config.matcher.candidates(host, canonical.path(), method);
    let mut matches = matches.into_iter().filter_map(|index| config.routes.get(index));
    let winner = matches.next();
    explanation.outcome = match (winner, &config.server.unmatched) {
        (Some(route), _) => Outcome::Answered {
            route: RouteName::of(route),
            limit: route.limit.map(RequestLimit::of),
            price: Price::of(&route.charge),
            upstream: UpstreamName::of(config, &route.upstream),
        },
        (None, Unmatched::Deny) => Outcome::Denied,
        (None, Unmatched::Free { upstream }) => Outcome::Unmatched { upstream: UpstreamName::of(config, upstream) },
    };
    if let Some(winner) = winner {
        let compared = winner.pattern.path.compared(canonical.path());
        explanation
            .steps
            .extend(compared.map(|path| PathStep { step: "compared in any case, not forwarded so", path }));
        explanation.runners_up = matches.map(|route| RunnerUp::behind(winner, route)).collect();
    }
    if explanation.host.is_none() {
        let elsewhere = config.routes.iter().filter(|route| {
            let pattern = &route.pattern;
            pattern.host.is_some() && pattern.path.matches(canonical.path()) && pattern.methods.allow(method)
        });
        explanation.on_other_hosts = elsewhere.map(|route| RouteName::of(route)).collect();
    }
    explanation
}

/// Authority and target of a URL, as a client would send them: without a fragment, and `/` for no path. Not with a URL
/// parser, which would tidy up the path itself. What is no `http` URL is taken for a target.
fn as_sent(url: &str) -> (Option<&str>, String) {
    let Some((scheme, rest)) = url.split_once("://") else { return (None, url.to_owned()) };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return (None, url.to_owned());
    }
    let rest = rest.split_once('#').map_or(rest, |(sent, _fragment)| sent);
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let slash = if target.starts_with('/') { "" } else { "/" };
    (Some(authority), format!("{slash}{target}"))
}

fn step_name(step: Step) -> &'static str {
    match step {
        Step::Escapes => "escapes",
        Step::Slashes => "slashes",
        Step::DotSegments => "dot segments",
    }
}

impl Outcome {
    fn unfit(unfit: Unfit) -> Outcome {
        Outcome::Refused { status: unfit.status().as_u16(), reason: unfit.reason(), detail: unfit.to_string() }
    }
}

impl Explanation {
    /// Whether a route answers.
    fn exit_code(&self) -> ExitCode {
        match self.outcome {
            Outcome::Answered { .. } => ExitCode::SUCCESS,
            Outcome::Refused { .. } | Outcome::Denied | Outcome::Unmatched { .. } => ExitCode::from(super::EXIT_NO),
        }
    }
}

impl RouteName {
    fn of(route: &Route) -> RouteName {
        RouteName { name: route.name.to_string(), pattern: route.shown.clone() }
    }
}

impl RunnerUp {
    fn behind(winner: &Route, route: &Route) -> RunnerUp {
        let precedence = Precedence::of(&winner.pattern, &route.pattern);
        let because = precedence.map(|precedence| precedence.to_string()).unwrap_or_default();
        RunnerUp { route: RouteName::of(route), because }
    }
}

impl UpstreamName {
    fn of(config: &Config, name: &str) -> UpstreamName {
        let servers = config.upstreams.get(name).into_iter().flat_map(|upstream| &upstream.servers);
        let url = |server: &config::ServerAddress| {
            let scheme = if server.tls { "https" } else { "http" };
            format!("{scheme}://{}:{}", server.host, server.port)
        };
        UpstreamName { name: name.to_owned(), servers: servers.map(url).collect() }
    }
}
