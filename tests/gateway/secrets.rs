//! Nothing that the gateway prints holds a secret: not while it serves, not when anything fails, not at any level.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::support::gateway::BINARY;
use crate::support::ports::Port;
use crate::support::tls::{self, Certificate, Certificates};
use crate::support::{Answer, House, Request, Settle, Verify};

/// Stands in every secret, so that one of a new key is found too.
const TELLTALE: &str = "unmistakable";

/// A secret of more than 32 bytes, for one key.
fn secret(key: &str) -> String {
    format!("{TELLTALE}-{key}-0123456789abcdef0123456789")
}

/// Everything that was printed, by where.
struct Printed(Vec<(String, String)>);

impl Printed {
    fn add(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.push((place.into(), text.into()));
    }

    /// What a command of the binary says.
    fn command(&mut self, arguments: &[&str], environment: &BTreeMap<&str, String>) {
        let output = Command::new(BINARY).args(arguments).envs(environment).output().expect("the binary runs");
        let said = [output.stdout, output.stderr].concat();
        assert!(!said.is_empty(), "{arguments:?} says nothing");
        self.add(format!("{arguments:?}"), String::from_utf8_lossy(&said));
    }

    fn holds_no(&self, needles: &[String]) {
        for (place, text) in &self.0 {
            for needle in needles {
                let lines: Vec<&str> = text.lines().filter(|line| line.contains(needle.as_str())).collect();
                assert!(lines.is_empty(), "{place} tells {needle:?}:\n{}", lines.join("\n"));
            }
        }
    }
}

fn wrong_files(right: &str, folder: &Path, tls: &Certificates) -> Vec<(String, String)> {
    let key = |key: &str| secret(key);
    let first_line = |text: &str| format!("{text}\n{right}");
    let replaced = |from: &str, to: &str| {
        assert!(right.contains(from), "{from}");
        right.replace(from, to)
    };
    let node = format!("rpc_url = \"ftp://user:{}@node/{}\"", key("node"), key("node"));
    vec![
        ("a syntax error".to_owned(), format!("{right}\nbearer = \"{}", key("syntax"))),
        ("an escape that is none".to_owned(), first_line(&format!("secret = \"{}\\xff", key("escape")))),
        ("an unknown key".to_owned(), replaced("bearer = ", "baerer = ")),
        ("a wrong type".to_owned(), replaced("upstream_secret = ", "upstream_secret = 1\nthreadz = ")),
        ("a short secret".to_owned(), replaced(&key("pass"), TELLTALE)),
        ("a number for a secret".to_owned(), replaced("[[pass_key]]", "[[pass_key]]\nsecrets = 7")),
        ("a table where a text belongs".to_owned(), replaced("rpc_url = ", &format!("{node}\nurl = "))),
        ("a header that cannot be sent".to_owned(), replaced(&key("header"), &format!("{}\\u0000", key("header")))),
        (
            "a ledger that is none".to_owned(),
            replaced("sqlite:farebox.db", &format!("postgres://u:{}@h:x/d", key("password"))),
        ),
        ("a key for a certificate".to_owned(), replaced(&format!("{:?}", tls.cert()), &format!("{:?}", tls.key()))),
        (
            "a key that is a ruin".to_owned(),
            replaced(&format!("{:?}", tls.key()), &format!("{:?}", folder.join("ruin"))),
        ),
        (
            "a ruin of a key for a certificate".to_owned(),
            replaced(&format!("{:?}", tls.cert()), &format!("{:?}", folder.join("ruin"))),
        ),
        ("a file that is not there".to_owned(), replaced("${file:", &format!("${{file:{}/absent/", folder.display()))),
    ]
}

#[tokio::test]
async fn no_secret_is_printed_whatever_happens() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, secret("file") + "\n").expect("a secret's file");
    let (node, database, port) = (Port::claim(), Port::claim(), Port::claim());
    let certificate = Certificate::make();
    let files = Certificates::with(&certificate);
    files.put(&certificate.pem, &format!("{}\n{}", secret("tls"), certificate.key_pem));
    std::fs::write(folder.path().join("ruin"), format!("{}-----END KEY-----", certificate.key_pem.replace('\n', "")))
        .expect("a ruin of a key");
    let house = House::build("window = \"60s\"", |setup| {
        setup
            .server(&format!("upstream_secret = [\"{}\", \"{}\"]", secret("upstream"), secret("upstream-old")))
            .server(&files.server_key(port.number))
            .facilitator(&format!("bearer = \"${{file:{}}}\"", token.display()))
            .facilitator(&format!("headers = {{ X-Api-Key = \"{}\" }}", secret("header")))
            .sections(&format!(
                "[log]\nlevel = \"trace\"\n[[pass_key]]\nid = \"k\"\nsecret = \"{}\"\n[networks.base-sepolia]\n\
                 rpc_url = \"http://user:{}@127.0.0.1:{}/v2/{}?key={}\"",
                secret("pass"),
                secret("rpc-password"),
                node.number,
                secret("rpc-path"),
                secret("rpc-query"),
            ))
    })
    .await;
    let gateway = &house.gateway;

    // What goes well, and what a facilitator and a node that fail are answered.
    gateway.send(Request::get("/free/ok")).await;
    let address = ([127, 0, 0, 1], port.number).into();
    tls::connect(address, b"", &certificate, &["h2"]).await.expect("a TLS connection");
    let payment = house.payment("/paid/ok").await;
    let paid = house.redeem("/paid/ok", &payment).await;
    assert_eq!(paid.status, 200, "{paid:?}");
    let pass = paid.header("farebox-pass").expect("a pass").to_owned();
    assert_eq!(gateway.send(Request::get("/paid/b").header("farebox-pass", &pass)).await.status, 200);
    let mut credentials = vec![payment.header().1, payment.signature().to_owned(), pass];
    house.facilitator.on_verify(Verify::Invalid("insufficient_funds"));
    house.facilitator.on_verify(Verify::Answer(Answer::text(401, "who are you?")));
    house.facilitator.on_verify(Verify::Answer(Answer::Cut));
    for _ in 0..3 {
        let refused = house.payment("/paid/ok").await;
        assert_ne!(house.redeem("/paid/ok", &refused).await.status, 200);
        credentials.push(refused.header().1);
    }
    let lost = house.payment("/paid/ok").await;
    house.facilitator.on_settle(Settle::Answer(Answer::Cut));
    assert_eq!(house.redeem("/paid/ok", &lost).await.status, 503);
    // Its node is asked for it, and is not there.
    assert_eq!(house.redeem("/paid/ok", &lost).await.status, 503);
    credentials.push(lost.header().1);
    credentials.push(lost.signature().to_owned());

    let mut printed = Printed(Vec::new());
    let config = gateway.config();
    let right = std::fs::read_to_string(&config).expect("the config");
    let file = config.to_str().expect("a path");
    let none = BTreeMap::new();
    printed.command(&["check", file], &none);
    printed.command(&["explain", "--config", file, "GET", "/paid/ok"], &none);
    printed.command(&["ledger", file], &none);
    let loaded = farebox::config::load(&config).expect("the config as it is");
    printed.add("the config's Debug", format!("{loaded:?}"));
    for (wrong, text) in wrong_files(&right, folder.path(), &files) {
        gateway.rewrite_text(&text);
        printed.add(format!("a reload with {wrong}"), format!("{:?}", gateway.reload().await));
        printed.command(&["check", file], &none);
        printed.command(&["explain", "--config", file, "GET", "/paid/ok"], &none);
        printed.command(&["run", file], &none);
    }
    gateway.rewrite_text(&right);
    assert_eq!(gateway.reload().await.status, 200, "{}", gateway.stderr());

    // A database that is not there, its password from the environment.
    let url = format!("postgres://user:${{PASSWORD}}@127.0.0.1:{}/farebox?password=${{PASSWORD}}", database.number);
    let elsewhere = folder.path().join("postgres.toml");
    let text = right.replace("sqlite:farebox.db", &url).replace(&format!(":{}\"", gateway.address().port()), ":0\"");
    std::fs::write(&elsewhere, text.replace(&format!(":{}\"", gateway.admin().port()), ":0\"")).expect("a config");
    let environment = BTreeMap::from([("PASSWORD", secret("password"))]);
    let text = std::fs::read_to_string(&elsewhere).expect("the config");
    let loaded = farebox::config::parse(&text, "postgres.toml", folder.path(), &|name| environment.get(name).cloned());
    printed.add("a database's Debug", format!("{:?}", loaded.expect("a config")));
    let elsewhere = elsewhere.to_str().expect("a path");
    printed.command(&["check", elsewhere], &environment);
    printed.command(&["ledger", elsewhere], &environment);

    printed.add("/status", gateway.status().await.to_string());
    printed.add("/metrics", gateway.ask(Request::get("/metrics")).await.text());
    printed.add("standard error", gateway.stderr());
    assert!(gateway.stderr().contains("DEBUG"), "the gateway is at its most talkative");
    printed.holds_no(&[TELLTALE.to_owned()]);
    // In bytes too, as a parser may quote a line that it cannot read.
    let key: Vec<&str> = certificate.key_pem.lines().filter(|line| !line.starts_with('-')).collect();
    let in_bytes = |line: &&str| format!("{:?}", line.as_bytes()).trim_matches(['[', ']']).to_owned();
    printed.holds_no(&key.iter().map(in_bytes).collect::<Vec<_>>());
    printed.holds_no(&key.into_iter().map(str::to_owned).collect::<Vec<_>>());
    printed.holds_no(&credentials);
}
