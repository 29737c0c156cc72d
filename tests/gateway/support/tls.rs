//! TLS: certificates that are made for a test, and a client that trusts one of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::within;

/// The name that every certificate has.
const NAME: &str = "gateway.test";

/// A folder with `cert.pem` and `key.pem`, as an operator keeps them.
pub struct Certificates {
    folder: TempDir,
}

/// A certificate that signs itself.
pub struct Certificate {
    pub der: CertificateDer<'static>,
    pub pem: String,
    pub key_pem: String,
}

impl Certificate {
    pub fn make() -> Certificate {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
        Certificate { der: made.cert.der().clone(), pem: made.cert.pem(), key_pem: made.signing_key.serialize_pem() }
    }
}

impl Certificates {
    /// A folder with this certificate and its key.
    pub fn with(certificate: &Certificate) -> Certificates {
        let certificates = Certificates { folder: TempDir::new().expect("a folder") };
        certificates.put(&certificate.pem, &certificate.key_pem);
        certificates
    }

    /// Replaces both files.
    pub fn put(&self, pem: &str, key_pem: &str) {
        std::fs::write(self.cert(), pem).expect("a certificate written");
        std::fs::write(self.key(), key_pem).expect("a key written");
    }

    pub fn cert(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// `[server] tls` for a listener on this port.
    pub fn server_key(&self, port: u16) -> String {
        let (cert, key) = (self.cert(), self.key());
        format!("tls = {{ listen = [\"127.0.0.1:{port}\"], cert = {cert:?}, key = {key:?} }}")
    }
}

/// A handshake that trusts this certificate alone, over a connection on which `first` stands before it.
pub async fn connect(
    address: SocketAddr,
    first: &[u8],
    trusted: &Certificate,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    use tokio::io::AsyncWriteExt;
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone()).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions of TLS");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let mut stream = within("a connection", TcpStream::connect(address)).await?;
    stream.write_all(first).await?;
    let name = ServerName::try_from(NAME).expect("a name");
    within("a TLS handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

/// Which protocol was agreed on.
pub fn protocol(stream: &TlsStream<TcpStream>) -> Option<String> {
    stream.get_ref().1.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned())
}
