//! The config file: its messages, its example, and that no file makes the reader panic or tell a secret.

use std::path::{Path, PathBuf};

use farebox::config::{self, Config, Loaded, Report};
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("../gateway.toml.example");

/// Stands for every secret of these tests, in files and in the environment: no message may hold it.
const SECRET: &str = "hushhush";

fn env(name: &str) -> Option<String> {
    let value = match name {
        "TOKEN" | "FACILITATOR_TOKEN" | "FACILITATOR_KEY" => SECRET.to_owned(),
        "PASS_SECRET" | "UPSTREAM_SECRET" => SECRET.repeat(4),
        "SET_BUT_WRONG" => format!("{SECRET} {SECRET}"),
        "WRONG_CHECKSUM" => "0x209693Bc6afc0C5328bA36FaF03C514EF312287c".to_owned(),
        "CONTROL" => format!("{SECRET}\n"),
        "EMPTY" => String::new(),
        _ => return None,
    };
    Some(value)
}

fn parse(text: &str) -> Result<Loaded, Report> {
    config::parse(text, "gateway.toml", Path::new("/etc/farebox"), &env)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs")
}

/// Everything that is printed of a file.
fn printed(outcome: &Result<Loaded, Report>) -> String {
    let (errors, rendered, warnings) = match outcome {
        Ok(loaded) => (0, None, &loaded.warnings),
        Err(report) => (report.errors, Some(&report.rendered), &report.warnings),
    };
    let mut printed = format!("{errors} errors, {} warnings\n", warnings.len());
    for finding in rendered.into_iter().chain(warnings) {
        printed.extend(["\n", finding, "\n"]);
    }
    printed
}

/// Each `NAME.toml` says what `NAME.txt` has. `FAREBOX_BLESS=1` writes what is printed now: read the difference.
#[test]
fn messages_are_as_they_are_written_down() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            assert!(path.with_extension("toml").exists(), "{} belongs to no file", path.display());
            continue;
        }
        seen += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let outcome = config::parse(&text, &name, Path::new("/etc/farebox"), &env);
        let printed = printed(&outcome);
        assert!(!printed.contains(SECRET), "{name} tells a secret:\n{printed}");
        let expected = path.with_extension("txt");
        if std::env::var_os("FAREBOX_BLESS").is_some() {
            std::fs::write(&expected, &printed).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != printed {
            wrong.push(printed);
        }
    }
    assert!(seen > 20, "only {seen} files in {}", folder().display());
    assert!(wrong.is_empty(), "{} files say something else now:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn the_example_is_right_and_has_nothing_to_warn_of() {
    let loaded = parse(EXAMPLE).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.config.routes.len(), 3);
}

#[test]
fn the_example_has_every_key() {
    for (section, names) in config::known_keys() {
        for name in names {
            let found = EXAMPLE.lines().any(|line| {
                let line = line.trim_start_matches("# ");
                line.starts_with(&format!("{name} = "))
                    || line.contains(&format!("{{ {name} = "))
                    || line.contains(&format!(", {name} = "))
                    || line.trim_start_matches('[').starts_with(&format!("{name}]"))
                    || line.trim_start_matches('[').starts_with(&format!("{name}."))
            });
            assert!(found, "gateway.toml.example lacks `{name}` of {section}");
        }
    }
}

/// The example with its comments of keys made keys.
fn example_with(key: impl Fn(&str) -> bool) -> String {
    let lines = EXAMPLE.lines().map(|line| {
        let commented = line.strip_prefix("# ").filter(|rest| {
            let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_' || *c == '[').collect();
            let is_key = rest.strip_prefix(&name).is_some_and(|rest| rest.starts_with(" = ") || rest == "]]");
            is_key && key(&name)
        });
        commented.unwrap_or(line)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_right_with_every_commented_key() {
    // There is no certificate beside it.
    let text = example_with(|name| name != "tls");
    let loaded = parse(&text).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.config.pass_keys.len(), 1);
    assert_eq!(loaded.config.server.threads, Some(4));
}

#[test]
fn the_defaults_are_those_that_the_example_shows() {
    let without_default = [
        "unmatched_upstream",
        "trusted_proxies",
        "proxy_protocol",
        "tls",
        "threads",
        "keep",
        "upstream_secret",
        "[[pass_key",
        "id",
        "secret",
        "bearer",
        "headers",
        "extra",
        "host",
        "client_header",
        "limit",
        "free",
    ];
    let shown = |text: &str| {
        let mut loaded = parse(text).unwrap_or_else(|report| panic!("{report}"));
        // The hash is of the text, and the matcher holds its tables in no order.
        loaded.config.hash.clear();
        loaded.config.matcher = Default::default();
        format!("{:#?}", loaded.config)
    };
    let text = example_with(|name| !without_default.contains(&name));
    assert_ne!(text, EXAMPLE);
    assert_eq!(shown(EXAMPLE), shown(&text));
}

fn right(text: &str) -> Config {
    parse(text).unwrap_or_else(|report| panic!("{report}")).config
}

#[test]
fn a_file_is_resolved() {
    let config = right(&example_with(|name| !matches!(name, "host" | "tls")));
    let route = &config.routes[1];
    assert_eq!((&*route.name, route.shown.as_str()), ("reports", "GET,POST /v1/reports/{id}"));
    assert_eq!(&*config.routes[2].name, "/v1/status");
    assert_eq!(config.matcher.find("any.example", "/v1/reports/7", "POST"), Some(1));
    let config::Charge::Priced(terms) = &route.charge else { panic!("priced") };
    assert_eq!(terms.settle, config::SettleMode::Before);
    assert_eq!(terms.window.and_then(|window| window.uses), Some(10));
    let offers: Vec<_> = terms.offers.iter().map(|offer| (&*offer.way, offer.amount.to_string())).collect();
    assert_eq!(offers, [("usdc", "50000".to_owned()), ("other", "40000000000000000".to_owned())]);
    let usdc = &terms.offers[0];
    assert_eq!(usdc.extra["name"], "USDC");
    assert_eq!(usdc.extra["primaryType"], "TransferWithAuthorization");
    assert_eq!(usdc.max_timeout_seconds, 300);
    assert_eq!(config.ledger.url, config::LedgerUrl::Sqlite("/etc/farebox/farebox.db".into()));
    assert_eq!(config.hash.len(), 16);
    let config::FacilitatorAt::Http(main) = &config.facilitators["main"].at else { panic!("http") };
    assert_eq!(main.bearer.as_ref().map(config::Secret::expose), Some(SECRET));
    assert!(!format!("{config:?}").contains(SECRET), "a config's Debug tells a secret");
}

#[test]
fn an_address_in_one_case_gets_its_checksum() {
    for case in [str::to_lowercase, str::to_uppercase] {
        let digits = "209693Bc6afc0C5328bA36FaF03C514EF312287C";
        let config = right(&EXAMPLE.replace(digits, &case(digits)));
        let config::Charge::Priced(terms) = &config.routes[0].charge else { panic!("priced") };
        assert_eq!(&*terms.offers[0].pay_to, "0x209693Bc6afc0C5328bA36FaF03C514EF312287C");
    }
}

#[test]
fn payments_are_kept_for_good_or_from_a_day_to_a_hundred_years() {
    let keep = |text: &str| parse(&EXAMPLE.replace("# keep = \"400d\"", &format!("keep = \"{text}\"")));
    for (text, hours) in [("24h", 24), ("400d", 9600), ("36600d", 878_400)] {
        let config = keep(text).unwrap_or_else(|report| panic!("{report}")).config;
        assert_eq!(config.ledger.keep, Some(std::time::Duration::from_secs(hours * 3600)));
    }
    for text in ["23h59m59s", "36600d1s", "0s", "-1d", "1 month", ""] {
        assert_eq!(keep(text).unwrap_err().errors, 1, "{text}");
    }
    assert_eq!(right(EXAMPLE).ledger.keep, None, "nothing is forgotten unless the operator asks for it");
}

#[test]
fn a_restart_is_asked_for_by_name() {
    let old = right(EXAMPLE);
    assert_eq!(config::Started::with(&old).waiting(&right(&EXAMPLE.replace("$0.01", "$0.02"))), Vec::<String>::new());
    let changed = EXAMPLE
        .replace("127.0.0.1:8080", "127.0.0.1:8081")
        .replace("# threads = 4", "threads = 4")
        .replace("# listen = \"127.0.0.1:9090\"", "listen = \"off\"")
        .replace("# format = \"json\"", "format = \"text\"")
        .replace("# level = \"info\"", "level = \"warn\"")
        .replace("# access = true", "access = false")
        .replace("# url = \"sqlite:farebox.db\"", "url = \"memory:\"")
        .replace("# keep = \"400d\"", "keep = \"30d\"");
    let all = ["server.listen", "server.threads", "admin.listen", "ledger.url", "log.format"];
    assert_eq!(config::Started::with(&old).waiting(&right(&changed)), all);
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let mut largest = EXAMPLE.as_bytes().to_vec();
    largest.push(b'#');
    largest.resize(16 * 1024 * 1024, b'-');
    assert!(config::load(&file("largest", &largest)).is_ok());
    largest.push(b'\n');
    let cases = [
        (folder.path().join("absent"), config::Fault::Unreadable, "No such file"),
        (folder.path().to_owned(), config::Fault::Unreadable, "it is a directory"),
        (file("larger", &largest), config::Fault::Wrong, "larger than 16 MiB"),
        (file("latin", b"# caf\xe9\n"), config::Fault::Wrong, "latin:1:6"),
        (file("later", b"a = 1\nb = \"\xff\"\n"), config::Fault::Wrong, "later:2:6"),
    ];
    for (path, fault, words) in cases {
        let report = config::load(&path).unwrap_err();
        assert_eq!((report.fault, report.errors), (fault, 1), "{report}");
        assert!(report.rendered.contains(words), "{report}");
    }
}

/// `farebox check` with these arguments: its exit code, standard output and standard error.
fn check(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_farebox"));
    let output = command.arg("check").args(arguments).current_dir(folder()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn check_counts_and_its_exit_code_is_that_of_the_worst_file() {
    let example = "../../gateway.toml.example";
    let right = "../../gateway.toml.example: ok (3 routes, 2 with a price, 2 ways to pay, 0 warnings)\n";
    let unused = "warnings_unused.toml: ok (1 route, 0 with a price, 1 way to pay, 8 warnings)\n";
    let cases: [(&[&str], i32, &str); 7] = [
        (&[example], 0, right),
        (&["--strict", example], 0, right),
        (&["warnings_unused.toml"], 0, unused),
        (&["--strict", "warnings_unused.toml"], 1, &unused.replace(": ok", ": not ok")),
        (&[example, "ties.toml"], 1, &format!("{right}ties.toml: not ok (2 errors, 0 warnings)\n")),
        (&["ties.toml", "absent.toml"], 2, "ties.toml: not ok (2 errors, 0 warnings)\nabsent.toml: not read\n"),
        (&[], 2, "gateway.toml: not read\n"),
    ];
    for (arguments, code, summary) in cases {
        let (status, stdout, stderr) = check(arguments);
        assert_eq!((status, stdout.as_str()), (Some(code), summary), "{arguments:?}\n{stderr}");
    }
    let (_, _, stderr) = check(&["no_route.toml"]);
    assert!(
        stderr.starts_with("error: no route: every request would be refused\n --> no_route.toml:1:1\n"),
        "{stderr}"
    );
}

#[test]
fn very_many_errors_are_counted_and_not_all_shown() {
    let text: String = (0..5_000).map(|n| format!("key{n} = {n}\n")).collect();
    let report = parse(&text).unwrap_err();
    assert!(report.errors >= 5_000, "{}", report.errors);
    assert!(report.rendered.ends_with(&format!("and {} more", report.errors - 100)), "{}", report.rendered.len());
}

#[test]
fn routes_that_are_all_the_same_are_reported_once_each() {
    let same = "[[route]]\npath = \"/{id}\"\nprice = \"free\"\n".repeat(500);
    let report = parse(&format!("[upstreams.api]\nservers = [\"127.0.0.1:3000\"]\n{same}")).unwrap_err();
    assert_eq!(report.errors, 499);
}

#[test]
fn a_deep_file_is_refused() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let text = format!("x = {}1{}", open.repeat(50_000), close.repeat(50_000));
        assert!(parse(&text).is_err());
    }
}

fn secretive() -> String {
    let text = example_with(|name| !matches!(name, "host" | "tls"));
    let text = text.replace("${FACILITATOR_TOKEN}", SECRET).replace("${FACILITATOR_KEY}", SECRET);
    let text = text.replace("sepolia.base.org", &format!("sepolia.base.org/{SECRET}"));
    text.replace("${PASS_SECRET}", &SECRET.repeat(4))
}

/// The nearest place at or before an index that is no character's middle.
fn boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}|[\\[\\]a-z=\"'{}$.,#\\n 0-9]{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        std::fs::write(&path, bytes).unwrap();
        let _ = config::load(&path);
    }

    /// What a slip of the hand does to a right file: never a panic, never a secret in the messages.
    #[test]
    fn a_slip_neither_panics_nor_tells_a_secret(
        at in any::<prop::sample::Index>(),
        slip in prop_oneof![
            Just(String::new()),
            "[\\[\\]a-z=\"'{}$.,#\\n \u{e9}]".prop_map(String::from),
        ],
        removed in 0usize..2,
        rest in any::<bool>(),
    ) {
        let text = secretive();
        let start = boundary(&text, at.index(text.len()));
        let end = boundary(&text, start + removed);
        let tail = if rest { &text[end..] } else { "" };
        let text = format!("{}{slip}{tail}", &text[..start]);
        let printed = printed(&parse(&text));
        prop_assert!(!printed.contains(SECRET), "{}", printed);
    }

    /// A piece of the file somewhere else, or gone.
    #[test]
    fn no_piece_in_the_wrong_place_makes_the_reader_panic(
        from in any::<prop::sample::Index>(),
        length in 0usize..400,
        to in any::<prop::sample::Index>(),
    ) {
        let text = secretive();
        let start = boundary(&text, from.index(text.len()));
        let end = boundary(&text, start + length);
        let piece = &text[start..end];
        let mut without = format!("{}{}", &text[..start], &text[end..]);
        let _ = parse(&without);
        let place = boundary(&without, to.index(without.len()));
        without.insert_str(place, piece);
        let _ = parse(&without);
    }
}
