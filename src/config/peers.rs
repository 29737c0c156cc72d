//! Addresses and networks of machines whose word is believed.

use std::net::IpAddr;

use ipnet::IpNet;

use super::diagnostic::Diagnostic;
use super::section::{Reader, Section};

/// What is said where a key's networks are wrong, or are everybody's.
pub(super) struct Words {
    /// What to write.
    pub(super) help: &'static str,
    /// What follows where everybody is believed.
    pub(super) everybody: &'static str,
    /// Whom to name instead.
    pub(super) instead: &'static str,
}

/// Reads a list of addresses and networks; without the key it is empty.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>, key: &'static str, words: &Words) -> Vec<IpNet> {
    let texts = section.texts(reader, key, words.help).map_or(Vec::new(), |texts| texts.value);
    let mut networks = Vec::new();
    for text in texts {
        let network = text.value.parse::<IpNet>().ok().or_else(|| text.value.parse::<IpAddr>().ok().map(IpNet::from));
        match network {
            Some(network) => {
                if network.prefix_len() == 0 {
                    reader.report(Diagnostic::warning(text.span, words.everybody, words.instead));
                }
                networks.push(network.trunc());
            }
            None => reader.report(Diagnostic::error(text.span, "not an address or network", words.help)),
        }
    }
    networks
}
