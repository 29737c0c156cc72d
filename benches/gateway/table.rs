//! Which rows there are, and what they have to reach.

use super::load::{Expected, Request, STATIC_NGINX_THEN};
use super::payer::Paid;
use super::peer::Peer;
use super::rows::{File, Goal, LARGE, MEDIUM, PRICED, Row, SMALL};
use super::servers::Server;

const NGINX_STATIC: &str = "nginx, static 402";
const STATIC: &str = "bare proxy, static 402";
const EXPRESS: &str = "@x402/express, challenge";
const EXPRESS_V1: &str = "x402-express, challenge (v1)";
const FASTAPI: &str = "x402 for Python, challenge";
const AXUM: &str = "x402-axum, challenge";
const PAY_GATE_ALIKE: &str = "pay-gate, challenge of as many bytes";

/// As Farebox does: it says who asked, in three `X-Forwarded-*` headers.
const FORWARDING: &str = "bare proxy, forwarding the same way";
const FREE: &str = "Farebox, free route";
const PAY_GATE_FREE: &str = "pay-gate, free route";
const FORWARDING_100K: &str = "bare proxy, 100 KB";
const FORWARDING_10M: &str = "bare proxy, 10 MB";

/// Files of 10 MB are asked for on fewer connections: on 64 it would be the memory that is measured.
const CONNECTIONS_10M: usize = 8;

/// The rows whose name has that text in it, and those that they are compared with.
pub fn chosen(text: Option<&str>, with_peers: bool, paid: &Paid) -> Vec<Row> {
    let mut rows = all(paid);
    rows.retain(|row| with_peers || !row.server.is_peer());
    let Some(text) = text else { return rows };
    let wanted: Vec<_> = rows
        .iter()
        .filter(|row| row.name.contains(text))
        .flat_map(|row| [row.name].into_iter().chain(row.others()))
        .collect();
    rows.into_iter().filter(|row| wanted.contains(&row.name)).collect()
}

fn all(paid: &Paid) -> Vec<Row> {
    let pass = Some(("farebox-pass", paid.pass.clone()));
    let payment = Some(("payment-signature", paid.payment.clone()));
    let forged = Some(("payment-signature", paid.forged.clone()));
    let priced = |name, header, share| Row {
        request: Request { path: PRICED, header, expected: Expected::Success },
        goals: vec![Goal::Share(share, FREE)],
        ..forward(name, Server::Quiet, &SMALL, FORWARDING)
    };
    let challenge_goals = vec![
        Goal::Share(0.95, STATIC),
        Goal::Share(0.6, NGINX_STATIC),
        Goal::Share(15.0, EXPRESS),
        Goal::Share(15.0, EXPRESS_V1),
        Goal::Share(15.0, FASTAPI),
        Goal::Share(1.0, AXUM),
        Goal::Share(1.0, PAY_GATE_ALIKE),
    ];
    let free_goals = vec![Goal::Share(0.95, FORWARDING), Goal::Cpu(1.0, PAY_GATE_FREE)];
    let mut rows = vec![
        challenge(NGINX_STATIC, Server::Nginx),
        challenge(STATIC, Server::Bare),
        Row { goals: challenge_goals, ..challenge("Farebox, challenge", Server::Quiet) },
        challenge(EXPRESS, Server::Peer(Peer::Express)),
        challenge(EXPRESS_V1, Server::Peer(Peer::ExpressV1)),
        challenge(FASTAPI, Server::Peer(Peer::FastApi)),
        challenge(AXUM, Server::Peer(Peer::Axum)),
        challenge("pay-gate, challenge", Server::Peer(Peer::PayGate)),
        challenge(PAY_GATE_ALIKE, Server::PayGateAlike),
        Row {
            request: Request { path: PRICED, header: forged, expected: Expected::Challenge },
            goals: vec![Goal::Rate(10_000.0), Goal::Share(10_000.0 / STATIC_NGINX_THEN, NGINX_STATIC)],
            ..challenge("Farebox, forged payment", Server::Quiet)
        },
        forward("nginx, forwarding", Server::Nginx, &SMALL, FORWARDING),
        forward(FORWARDING, Server::Bare, &SMALL, FORWARDING),
        Row {
            request: success(SMALL.free),
            ..forward("bare proxy, without X-Forwarded-*", Server::Bare, &SMALL, FORWARDING)
        },
        Row { goals: free_goals, ..forward(FREE, Server::Quiet, &SMALL, FORWARDING) },
        forward(PAY_GATE_FREE, Server::Peer(Peer::PayGate), &SMALL, FORWARDING),
        priced("Farebox, window by pass", pass, 0.9),
        priced("Farebox, window by the same payment", payment, 0.85),
        challenge("Farebox, challenge, access log on", Server::Logging),
        forward("Farebox, free route, access log on", Server::Logging, &SMALL, FORWARDING),
    ];
    let names = ["nginx, 100 KB", FORWARDING_100K, "Farebox, 100 KB", "pay-gate, 100 KB"];
    rows.extend(of_file(names, &MEDIUM, usize::MAX));
    let names = ["nginx, 10 MB", FORWARDING_10M, "Farebox, 10 MB", "pay-gate, 10 MB"];
    rows.extend(of_file(names, &LARGE, CONNECTIONS_10M));
    rows
}

/// The rows of a larger file, on at most so many connections.
fn of_file([nginx, bare, farebox, pay_gate]: [&'static str; 4], file: &File, connections: usize) -> [Row; 4] {
    let row = |name, server| Row { connections, ..forward(name, server, file, bare) };
    [
        row(nginx, Server::Nginx),
        row(bare, Server::Bare),
        Row { goals: vec![Goal::Cpu(1.03, bare)], ..row(farebox, Server::Quiet) },
        row(pay_gate, Server::Peer(Peer::PayGate)),
    ]
}

fn challenge(name: &'static str, server: Server) -> Row {
    Row {
        name,
        server,
        request: Request { path: PRICED, header: None, expected: Expected::Challenge },
        connections: usize::MAX,
        baseline: STATIC,
        goals: Vec::new(),
    }
}

fn forward(name: &'static str, server: Server, file: &File, baseline: &'static str) -> Row {
    let path = match server {
        Server::Nginx | Server::Bare => file.forwarded,
        _ => file.free,
    };
    Row { request: success(path), baseline, ..challenge(name, server) }
}

fn success(path: &'static str) -> Request {
    Request { path, header: None, expected: Expected::Success }
}
