//! `[server] tls`: the listeners that speak TLS, and how they prove their name.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::diagnostic::Diagnostic;
use super::section::{At, Keys, Reader, Section, Text};

/// Listeners that speak TLS.
#[derive(Clone)]
pub struct Tls {
    /// Where they listen. A change needs a restart.
    pub listen: Vec<SocketAddr>,
    /// The certificates, the server's own first, and the key that belongs to it. A reload reads both files again.
    pub identity: Arc<CertifiedKey>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let certificates = self.identity.cert.len();
        f.debug_struct("Tls").field("listen", &self.listen).field("certificates", &certificates).finish()
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Tls) -> bool {
        self.listen == other.listen && self.identity.cert == other.identity.cert
    }
}

impl Eq for Tls {}

pub(super) const TLS: Keys = Keys { section: "[server.tls]", names: &["listen", "cert", "key"] };

const LISTEN_HELP: &str = "write `listen = [\"0.0.0.0:8443\"]` for all interfaces";
const CERT_HELP: &str = "`cert` is a PEM file of the server's certificate and those between it and the root, in this \
                         order, such as Let's Encrypt's fullchain.pem; a relative path starts at the config file's \
                         folder";
const KEY_HELP: &str = "`key` is a PEM file of the certificate's private key, without a password, such as Let's \
                        Encrypt's privkey.pem; a relative path starts at the config file's folder";

/// A chain of certificates is some KiB.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// `[server] tls` as it was read.
pub(super) struct Listed {
    pub(super) listen: Vec<At<SocketAddr>>,
    /// `None` where an error was reported.
    pub(super) identity: Option<Arc<CertifiedKey>>,
}

/// Reads `[server] tls`; `None` where it is absent. The addresses are read with `address`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    server: &Section<'_>,
    address: impl Fn(&mut Reader<'_>, &Text) -> Option<At<SocketAddr>>,
) -> Option<Listed> {
    server.value("tls")?;
    let section = server.section(reader, "tls", &TLS);
    let listen = match section.texts(reader, "listen", LISTEN_HELP) {
        None => {
            if section.value("listen").is_none() {
                section.missing(reader, "listen", LISTEN_HELP);
            }
            Vec::new()
        }
        Some(texts) => {
            if texts.value.is_empty() {
                reader.report(Diagnostic::error(texts.span, "`listen` is empty: nobody could connect", LISTEN_HELP));
            }
            texts.value.iter().filter_map(|text| address(reader, text)).collect()
        }
    };
    let cert = section.required_text(reader, "cert", CERT_HELP);
    let key = section.required_text(reader, "key", KEY_HELP);
    let chain = cert.as_ref().and_then(|cert| read_chain(reader, cert));
    let key_der = key.as_ref().and_then(|key| read_key(reader, key));
    let identity = match (chain, key_der, &key) {
        (Some(chain), Some(der), Some(key)) => identity(reader, chain, der, key),
        _ => None,
    };
    Some(Listed { listen, identity })
}

fn read_chain(reader: &mut Reader<'_>, path: &Text) -> Option<Vec<CertificateDer<'static>>> {
    let pem = read_file(reader, path, "cert", CERT_HELP)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Some(chain),
        Ok(_) => wrong(reader, path, "no certificate in the file that `cert` names", CERT_HELP),
        // The error's text holds what the file holds, and a wrong path may be the key's.
        Err(_) => wrong(reader, path, "the file that `cert` names is no PEM", CERT_HELP),
    }
}

fn read_key(reader: &mut Reader<'_>, path: &Text) -> Option<PrivateKeyDer<'static>> {
    let pem = read_file(reader, path, "key", KEY_HELP)?;
    let file = reader.base_dir().join(&path.value);
    reader.warn_if_open(&file, path.span.clone(), "the private key of the listeners with TLS");
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(key) => Some(key),
        // As above.
        Err(_) => wrong(reader, path, "no private key in the file that `key` names", KEY_HELP),
    }
}

fn identity(
    reader: &mut Reader<'_>,
    chain: Vec<CertificateDer<'static>>,
    der: PrivateKeyDer<'static>,
    key: &Text,
) -> Option<Arc<CertifiedKey>> {
    let help = "write the certificate and the key that were made together, an RSA, ECDSA or Ed25519 pair";
    match CertifiedKey::from_der(chain, der, &ring::default_provider()) {
        Ok(identity) => Some(Arc::new(identity)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            wrong(reader, key, "the key does not belong to the certificate", help)
        }
        Err(error) => wrong(reader, key, &format!("the certificate and the key cannot be used: {error}"), help),
    }
}

fn read_file(reader: &mut Reader<'_>, path: &Text, name: &str, help: &str) -> Option<Vec<u8>> {
    let file = reader.note_file(&path.value);
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => {
            let title = path.unless_referenced(
                || format!("cannot read `{}`: {}", path.value, error.kind()),
                &format!("cannot read the file that `{name}` names: {}", error.kind()),
            );
            wrong(reader, path, &title, help)
        }
        Ok(_) if bytes.len() as u64 > PEM_BYTES_MAX => {
            wrong(reader, path, &format!("the file that `{name}` names is larger than 1 MiB"), help)
        }
        Ok(_) => Some(bytes),
    }
}

fn wrong<T>(reader: &mut Reader<'_>, at: &Text, title: &str, help: &str) -> Option<T> {
    reader.report(Diagnostic::error(at.span.clone(), title, help));
    None
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    fn certificate() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["gateway.test".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = certificate();
        let (_, other) = certificate();
        let halved = cert.replace("-----END CERTIFICATE-----", "");
        let one_line = key.replace('\n', "");
        let in_bytes = format!("{:?}", key.lines().nth(1).unwrap().as_bytes());
        let cases = [
            (cert.as_str(), key.as_str(), None),
            (&format!("{cert}{cert}"), &key, None),
            ("", &key, Some("no certificate in the file that `cert` names")),
            (&key, &key, Some("no certificate in the file that `cert` names")),
            (&halved, &key, Some("the file that `cert` names is no PEM")),
            (&one_line, &key, Some("the file that `cert` names is no PEM")),
            (&cert, &one_line, Some("no private key in the file that `key` names")),
            (&cert, "", Some("no private key in the file that `key` names")),
            (&cert, &cert, Some("no private key in the file that `key` names")),
            (&cert, &other, Some("the key does not belong to the certificate")),
        ];
        let text = "[server]\ntls = { listen = [\"127.0.0.1:8443\"], cert = \"c.pem\", key = \"k.pem\" }\n\
                    [upstreams.api]\nservers = [\"127.0.0.1:3000\"]\n[[route]]\npath = \"/\"\nprice = \"free\"\n";
        for (cert, key, expected) in cases {
            std::fs::write(folder.path().join("c.pem"), cert).unwrap();
            std::fs::write(folder.path().join("k.pem"), key).unwrap();
            match (parse(text, "gateway.toml", folder.path(), &|_| None), expected) {
                (Ok(loaded), None) => {
                    let server = &loaded.config.server;
                    assert!(server.listen.is_empty(), "TLS and nothing else");
                    let files = loaded.config.files.iter().map(|file| file.path.file_name().unwrap());
                    assert_eq!(
                        files.collect::<Vec<_>>(),
                        ["c.pem", "k.pem"],
                        "a change of either is one of the config"
                    );
                    let shown = format!("{server:?}");
                    assert!(!shown.contains("PRIVATE") && shown.contains("certificates"), "{shown}");
                }
                (Err(report), Some(words)) => {
                    assert_eq!(report.errors, 1, "{report}");
                    assert!(report.rendered.contains(words), "{words:?} is not in\n{report}");
                    assert!(!report.rendered.contains("BEGIN"), "{report}");
                    // Nor as a parser quotes what it cannot read.
                    assert!(!report.rendered.contains(in_bytes.trim_matches(['[', ']'])), "{report}");
                }
                (outcome, expected) => panic!("{expected:?} and not {outcome:?}"),
            }
        }
    }
}
