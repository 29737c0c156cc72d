//! What is in deploy/ agrees with the gateway. That the tools which read it accept it, `deploy/check.sh` shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use farebox::telemetry::{Kind, Metrics};
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every name that can stand in a query, with the labels of its series.
fn series() -> BTreeMap<String, BTreeSet<String>> {
    // Put on by Prometheus itself.
    let scraped = ["job", "instance"].map(str::to_owned);
    let mut all = BTreeMap::from([("up".to_owned(), BTreeSet::from(scraped.clone()))]);
    for family in Metrics::new().families() {
        let labels: BTreeSet<String> = family.labels.iter().cloned().chain(scraped.clone()).collect();
        match family.kind {
            Kind::Counter | Kind::Gauge => {
                all.insert(family.name.clone(), labels);
            }
            Kind::Histogram => {
                all.insert(format!("{}_sum", family.name), labels.clone());
                all.insert(format!("{}_count", family.name), labels.clone());
                let bucket = labels.into_iter().chain(["le".to_owned()]).collect();
                all.insert(format!("{}_bucket", family.name), bucket);
            }
        }
    }
    all
}

/// The metrics of a query, each with the label names of its `{…}`. No label value of ours holds a comma or a brace.
fn metrics_of(query: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '"') {
        rest = &rest[start..];
        if let Some(text) = rest.strip_prefix('"') {
            rest = &text[text.find('"').expect("a closing quote") + 1..];
            continue;
        }
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        if !(word.starts_with("farebox_") || word.starts_with("process_") || word == "up") {
            continue;
        }
        let mut labels = Vec::new();
        if let Some(selector) = rest.strip_prefix('{') {
            let (inside, after) = selector.split_once('}').expect("a closing brace");
            rest = after;
            labels = inside
                .split(',')
                .map(|pair| pair.split(['=', '!']).next().unwrap_or_default().trim().to_owned())
                .collect();
        }
        found.push((word.to_owned(), labels));
    }
    found
}

fn check_query(query: &str, place: &str) {
    let known = series();
    let used = metrics_of(query);
    assert!(!used.is_empty(), "{place}: no metric in {query}");
    for (name, labels) in used {
        let allowed = known.get(&name).unwrap_or_else(|| panic!("{place}: nothing exports {name}"));
        for label in labels {
            assert!(allowed.contains(&label), "{place}: {name} has no label {label:?}");
        }
    }
}

#[test]
fn queries_are_taken_apart_rightly() {
    let query = r#"sum by (le) (rate(farebox_a_bucket{job="x",b!~"c|farebox_d"}[5m])) / up > process_x"#;
    let expected = [("farebox_a_bucket", vec!["job", "b"]), ("up", vec![]), ("process_x", vec![])];
    let found = metrics_of(query);
    let found: Vec<(&str, Vec<&str>)> =
        found.iter().map(|(name, labels)| (name.as_str(), labels.iter().map(String::as_str).collect())).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_dashboard_asks_for_what_is_exported() {
    let text = read("deploy/grafana-dashboard.json");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut queries = 0;
    let mut asked = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        let targets = panel["targets"].as_array();
        assert_eq!(targets.is_none(), panel["type"] == "row", "{title}");
        for target in targets.into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            check_query(query, title);
            queries += 1;
            asked.extend(metrics_of(query).into_iter().map(|(name, _)| name));
            // deploy/check.sh reads the queries line by line.
            let line = format!("\"expr\": {}", Value::from(query));
            assert!(text.lines().any(|l| l.trim().trim_end_matches(',') == line), "{title}: {line}");
        }
    }
    assert_eq!(queries, text.matches("\"expr\"").count(), "a query stands where this test does not look");
    for family in Metrics::new().families().iter().filter(|family| family.name.starts_with("farebox_")) {
        // Said by farebox_config_last_reload_successful at a glance.
        if family.name == "farebox_config_last_reload_success_timestamp_seconds" {
            continue;
        }
        assert!(asked.iter().any(|name| name.starts_with(&family.name)), "the dashboard does not show {}", family.name);
    }
}

#[test]
fn the_dashboards_panels_do_not_lie_on_each_other() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana-dashboard.json")).unwrap();
    let mut taken = BTreeMap::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{}: wider than the grid", panel["title"]);
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                let other = taken.insert((x, y), &panel["title"]);
                assert_eq!(other, None, "{} covers it", panel["title"]);
            }
        }
    }
}

#[test]
fn alerts_ask_for_what_is_exported_and_each_is_tested() {
    let alerts = read("deploy/alerts.yml");
    let tests = read("deploy/alerts_test.yml");
    let rules: Vec<&str> = alerts.split("- alert: ").skip(1).collect();
    assert!(!rules.is_empty());
    for rule in rules {
        let name = rule.lines().next().unwrap();
        let (query, _) = rule.split_once("expr: ").unwrap().1.split_once("labels:").unwrap();
        check_query(query.split("for: ").next().unwrap(), name);
        // Once where it must be silent, once where it must not.
        assert_eq!(tests.matches(&format!("alertname: {name}")).count(), 2, "{name}");
    }
    for (line, text) in tests.lines().enumerate() {
        if let Some((_, series)) = text.split_once("series: '") {
            check_query(series.split('\'').next().unwrap(), &format!("alerts_test.yml line {}", line + 1));
        }
    }
}

/// The lines of a Dockerfile with their continuations joined, without comments.
fn instructions(dockerfile: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in dockerfile.lines().filter(|line| !line.starts_with('#')) {
        let last = all.last_mut().unwrap();
        match line.strip_suffix('\\') {
            Some(begun) => last.push_str(begun),
            None => {
                last.push_str(line);
                all.push(String::new());
            }
        }
    }
    all.retain(|line| !line.trim().is_empty());
    all
}

#[test]
fn the_image_is_built_as_the_readme_says_and_runs_as_nobody() {
    let all = instructions(&read("deploy/Dockerfile"));
    let build = "cargo build --release --locked";
    assert!(read("deploy/README.md").contains(&format!("`{build}`")));
    assert!(all.iter().any(|line| line.starts_with("RUN ") && line.contains(build)), "{all:#?}");
    assert!(all.iter().any(|line| line.contains("apt-get install") && line.contains("cmake")), "Pingora needs cmake");

    let last_stage = all.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    let (_, image) = all.split_at(last_stage);
    let user = image.iter().find_map(|line| line.strip_prefix("USER ")).expect("a user");
    assert!(!user.starts_with('0') && !user.starts_with("root"), "{user}");
    assert!(image.iter().any(|line| line.starts_with("VOLUME ")), "the ledger must outlive the container");

    for line in all.iter().filter(|line| line.starts_with("COPY ") && !line.contains("--from=")) {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        for source in &words[..words.len() - 1] {
            assert!(root().join(source).exists(), "{line}");
        }
    }
}

/// `COPY . .` takes what the ignore file leaves: it must leave all that cargo reads.
#[test]
fn the_ignore_file_leaves_what_the_build_reads() {
    let ignored = read("deploy/Dockerfile.dockerignore");
    let patterns: Vec<&str> = ignored.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(patterns.contains(&"target") && patterns.contains(&".git"), "{patterns:?}");
    for needed in ["Cargo.toml", "Cargo.lock", "src", "tests", "benches", "docs", "gateway.toml.example"] {
        assert!(!patterns.iter().any(|pattern| pattern.trim_start_matches("**/") == needed), "{needed} is left out");
    }
}

#[test]
fn the_unit_calls_commands_that_exist() {
    use clap::CommandFactory;
    let cli = farebox::cli::Cli::command();
    let commands: BTreeSet<&str> = cli.get_subcommands().map(|command| command.get_name()).collect();
    let unit = read("deploy/farebox.service");
    let mut called = BTreeSet::new();
    for line in unit.lines().filter(|line| line.starts_with("Exec")) {
        let (_, command) = line.split_once('=').unwrap();
        if let Some(arguments) = command.strip_prefix("/usr/local/bin/farebox ") {
            let name = arguments.split(' ').next().unwrap();
            assert!(commands.contains(name), "{line}");
            called.insert(name);
        }
    }
    assert_eq!(called, BTreeSet::from(["check", "run"]));
    assert!(unit.contains("ExecReload=/bin/kill -HUP $MAINPID"), "SIGHUP reloads");

    let image = read("deploy/Dockerfile");
    let start = image.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    let start: Vec<String> = serde_json::from_str(start).unwrap();
    assert!(commands.contains(start.first().unwrap().as_str()), "{start:?}");
}

#[test]
fn the_readme_names_files_that_exist() {
    let readme = read("deploy/README.md");
    let mut named = 0;
    for word in readme.split(|c: char| c.is_whitespace() || c == '`') {
        if word.starts_with("deploy/") && !word.ends_with('.') {
            assert!(root().join(word).exists(), "{word}");
            named += 1;
        }
    }
    assert!(named > 3, "the test no longer finds the names");
}

/// Money is added and multiplied in releases as in tests: what overflows stops there too.
#[test]
fn releases_check_for_overflow() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    assert_eq!(manifest["profile"]["release"]["overflow-checks"], toml::Value::Boolean(true));
    assert_eq!(manifest["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
}
