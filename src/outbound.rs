//! How this house calls others over HTTP: facilitators and nodes of a chain.
//!
//! Nothing is ever sent twice: no retry, no redirect, no proxy from the environment.

use std::sync::Once;

use url::Url;

/// What every client for this URL starts from; timeouts are the caller's.
pub fn client(url: &Url) -> reqwest::ClientBuilder {
    install_crypto_provider();
    let client = reqwest::Client::builder()
        .user_agent(concat!("farebox/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy();
    if url.scheme() == "http" {
        // Loads no root certificates, which a small container may not have.
        client.tls_certs_only([])
    } else {
        client
    }
}

/// An error and its causes in one line. Take the URL out first, which may hold a password.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// reqwest is built without a provider of its own, so that the house has one (ring, as Pingora's).
fn install_crypto_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // An error says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
