//! The proxy that Farebox is measured against: Pingora and nothing else, tuned alike.
//!
//! It answers the same challenge, byte for byte, from a response that was made once, and forwards everything else
//! with the settings that Farebox gives its engine. What it leaves out is Farebox's work: no route, no header is
//! stripped or added, nothing is counted. On one path it adds the three headers that any reverse proxy adds, for what
//! these alone cost on this engine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::listeners::ListenerConfig;
use pingora::modules::http::HttpModules;
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::upstreams::peer::{HttpPeer, PeerOptions};
use serde::{Deserialize, Serialize};

use super::Failure;
use super::process::Process;
use super::rows::{FORWARDED, PRICED};

/// The role's arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Where it listens.
    listen: SocketAddr,
    /// Where it forwards to.
    origin: SocketAddr,
    /// The challenge that it answers, as JSON.
    challenge: PathBuf,
}

/// A complete response, but for `Date` and `Connection`.
#[derive(Serialize, Deserialize)]
pub struct Challenge {
    /// The status.
    pub status: u16,
    /// Every header field.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// Starts it as a process of its own.
pub fn start(folder: &Path, origin: SocketAddr, challenge: &Challenge) -> Result<Process, Failure> {
    let address = super::process::free_address()?;
    let file = folder.join("challenge.json");
    fs::write(&file, serde_json::to_vec(challenge)?)?;
    let arguments = ["bare".into(), address.to_string().into(), origin.to_string().into(), file.into_os_string()];
    Process::start("bare proxy", &env::current_exe()?, arguments, folder, address)
}

/// Serves until the process is killed.
pub fn run(args: Args) -> Result<(), Failure> {
    let challenge: Challenge = serde_json::from_slice(&fs::read(&args.challenge)?)?;
    let mut head =
        ResponseHeader::build_no_case(StatusCode::from_u16(challenge.status)?, Some(challenge.headers.len()))?;
    for (name, value) in challenge.headers {
        head.append_header(HeaderName::try_from(name)?, HeaderValue::from_maybe_shared(Bytes::from(value))?)?;
    }
    // As in Farebox: src/proxy/server.rs, and an upstream's default timeouts.
    let conf = ServerConf {
        threads: 1,
        work_stealing: false,
        max_retries: 2,
        upstream_keepalive_pool_size: 1024,
        ..ServerConf::default()
    };
    let mut options = PeerOptions::new();
    options.connection_timeout = Some(Duration::from_secs(5));
    options.total_connection_timeout = Some(Duration::from_secs(5));
    options.read_timeout = Some(Duration::from_secs(60));
    options.write_timeout = Some(Duration::from_secs(60));
    options.idle_timeout = Some(Duration::from_secs(60));

    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let proxy = Bare { origin: args.origin, options, head, body: challenge.body.into() };
    let mut service = http_proxy_service(&server.configuration, proxy);
    let buffers = L4BufferSettings::new(8 * 1024, 16 * 1024);
    service.add_listener(ListenerConfig::tcp(args.listen.to_string()).l4_buffer(buffers));
    server.add_service(service);
    server.run(RunArgs::default());
    Ok(())
}

struct Bare {
    origin: SocketAddr,
    options: PeerOptions,
    head: ResponseHeader,
    body: Bytes,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(60));
        }
        if !session.req_header().raw_path().starts_with(PRICED.as_bytes()) {
            return Ok(false);
        }
        let downstream = session.as_downstream_mut();
        downstream.write_response_header(Box::new(self.head.clone())).await?;
        downstream.write_response_body(self.body.clone(), true).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(self.origin, false, String::new());
        peer.options = self.options.clone();
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        if !session.req_header().raw_path().starts_with(FORWARDED.as_bytes()) {
            return Ok(());
        }
        if let Some(client) = session.client_addr().and_then(|address| address.as_inet()) {
            request.insert_header("X-Forwarded-For", client.ip().to_string())?;
        }
        request.insert_header("X-Forwarded-Proto", HeaderValue::from_static("http"))?;
        match session.req_header().headers.get(header::HOST) {
            Some(host) => request.insert_header("X-Forwarded-Host", host.clone()),
            None => Ok(()),
        }
    }
}
