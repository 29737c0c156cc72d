//! TLS towards clients.

use std::sync::Arc;

use pingora::listeners::tls::Acceptor;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::proxy::house::House;

/// HTTP/2 first, as every client that offers both would have it.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Takes TLS connections, each with the certificate that is in force when it comes.
pub(super) fn acceptor(house: Arc<House>) -> Result<Acceptor, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(InForce(house)));
    config.alpn_protocols = PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Acceptor::from_server_config(Arc::new(config)))
}

/// The certificate of the config in force.
struct InForce(Arc<House>);

impl std::fmt::Debug for InForce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InForce")
    }
}

impl ResolvesServerCert for InForce {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.certificate()
    }
}
