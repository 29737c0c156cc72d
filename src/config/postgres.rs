//! A `postgres://…` URL: where the shared ledger is, and how far its server is trusted.

use std::fmt;
use std::path::{Path, PathBuf};

use tokio_postgres::config::{Host, SslMode};
use url::form_urlencoded;

/// A PostgreSQL database. Shown and printed without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    /// What a connection is made with.
    pub connection: tokio_postgres::Config,
    /// What the server has to prove.
    pub trust: ServerTrust,
}

/// `sslmode` and `sslrootcert`, as every PostgreSQL client understands them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerTrust {
    /// Nothing: whoever answers is believed. `disable`, `prefer` and `require`.
    Anybody,
    /// A certificate that one of this file's has signed, for any name. `verify-ca`.
    SignedBy(PathBuf),
    /// A certificate of its name, signed by one of this file's or, without one, of the system's. `verify-full`.
    Named(Option<PathBuf>),
}

/// Reads a URL; `Err` says what is wrong with it, and never quotes it.
pub(super) fn parse(text: &str, base_dir: &Path) -> Result<PostgresUrl, &'static str> {
    let (place, query) = text.split_once('?').unwrap_or((text, ""));
    let mut mode = None;
    let mut root = None;
    let mut rest = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("sslmode", value)) => mode = Some(decoded(value)),
            Some(("sslrootcert", value)) => root = Some(decoded(value)),
            Some(_) | None => rest.push(parameter),
        }
    }
    let bare = if rest.is_empty() { place.to_owned() } else { format!("{place}?{}", rest.join("&")) };
    let mut connection: tokio_postgres::Config =
        bare.parse().map_err(|_| "not a PostgreSQL URL, or one with parameters that are not known here")?;
    if connection.get_hosts().is_empty() && connection.get_hostaddrs().is_empty() {
        return Err("a PostgreSQL URL without a host");
    }
    let root = root.filter(|root| root != "system").map(|root| base_dir.join(root));
    let (ssl_mode, trust) = match (mode.as_deref(), root) {
        (None | Some("prefer"), None) => (SslMode::Prefer, ServerTrust::Anybody),
        (Some("disable"), None) => (SslMode::Disable, ServerTrust::Anybody),
        (Some("require"), None) => (SslMode::Require, ServerTrust::Anybody),
        (Some("require" | "verify-ca"), Some(root)) => (SslMode::Require, ServerTrust::SignedBy(root)),
        (Some("verify-full"), root) => (SslMode::Require, ServerTrust::Named(root)),
        (Some("verify-ca"), None) => return Err("sslmode=verify-ca without sslrootcert: nobody to verify by"),
        (None | Some("disable" | "prefer"), Some(_)) => {
            return Err("sslrootcert with an sslmode that does not look at it");
        }
        (Some(_), _) => return Err("not an sslmode"),
    };
    connection.ssl_mode(ssl_mode);
    Ok(PostgresUrl { connection, trust })
}

/// A `+` in a path is a `+`.
fn decoded(value: &str) -> String {
    let value = value.replace('+', "%2B");
    form_urlencoded::parse(format!("v={value}").as_bytes()).map(|(_, value)| value.into_owned()).collect()
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.connection.get_user() {
            write!(f, "{user}@")?;
        }
        let ports = self.connection.get_ports();
        for (n, host) in self.connection.get_hosts().iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                Host::Unix(folder) => write!(f, "{comma}{}", folder.display())?,
            }
            // One port may stand for all hosts.
            if let Some(port) = ports.get(n).or(ports.first()) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.connection.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self}, {:?})", self.trust)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<PostgresUrl, &'static str> {
        parse(text, Path::new("/etc/farebox"))
    }

    #[test]
    fn sslmode_means_what_it_means_to_psql() {
        let root = || PathBuf::from("/etc/farebox/root+1.crt");
        for (query, mode, trust) in [
            ("", SslMode::Prefer, ServerTrust::Anybody),
            ("?sslmode=prefer", SslMode::Prefer, ServerTrust::Anybody),
            ("?sslmode=disable", SslMode::Disable, ServerTrust::Anybody),
            ("?sslmode=require", SslMode::Require, ServerTrust::Anybody),
            ("?sslmode=require&sslrootcert=root+1.crt", SslMode::Require, ServerTrust::SignedBy(root())),
            ("?sslrootcert=root%2B1.crt&sslmode=verify-ca", SslMode::Require, ServerTrust::SignedBy(root())),
            ("?sslmode=verify-full", SslMode::Require, ServerTrust::Named(None)),
            ("?sslmode=verify-full&sslrootcert=system", SslMode::Require, ServerTrust::Named(None)),
            (
                "?sslmode=verify-full&sslrootcert=%2Fetc%2Ffarebox%2Froot+1.crt",
                SslMode::Require,
                ServerTrust::Named(Some(root())),
            ),
        ] {
            let url = read(&format!("postgres://farebox@db/farebox{query}")).unwrap();
            assert_eq!((url.connection.get_ssl_mode(), url.trust), (mode, trust), "{query}");
        }
        for query in
            ["sslmode=verify-ca", "sslmode=allow", "sslmode=", "sslrootcert=a", "sslmode=disable&sslrootcert=a"]
        {
            assert!(read(&format!("postgres://farebox@db/farebox?{query}")).is_err(), "{query}");
        }
    }

    #[test]
    fn other_parameters_reach_the_connection() {
        let url = read("postgres://db/farebox?application_name=shop&sslmode=require&connect_timeout=1").unwrap();
        assert_eq!(url.connection.get_application_name(), Some("shop"));
        assert!(read("postgres://db/farebox?applicationname=shop").is_err());
        assert!(read("postgres://db:port/farebox").is_err());
        assert!(read("postgres:///farebox").is_err());
    }

    #[test]
    fn it_is_shown_without_its_password() {
        for (text, shown) in [
            ("postgres://farebox:hush@db:5433/shop?sslmode=require", "postgres://farebox@db:5433/shop"),
            ("postgresql://a:1,b:2/shop?password=hush", "postgres://a:1,b:2/shop"),
            ("postgres:///shop?host=/run/postgresql&user=u", "postgres://u@/run/postgresql/shop"),
        ] {
            let Ok(url) = read(text) else { panic!("{text}") };
            assert!(!format!("{url:?}").contains("hush"));
            assert_eq!(url.to_string(), shown);
        }
    }
}
