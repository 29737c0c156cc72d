//! `[networks.NAME]`: where to ask what became of a payment.

use std::collections::BTreeMap;

use toml::de::DeValue;
use url::Url;

use super::declared::Declarations;
use super::diagnostic::{Diagnostic, Span};
use super::reference::Origin;
use super::secret::warn_literal;
use super::section::{Keys, Reader, Section, Text, wrong_type};
use super::suggest::did_you_mean;
use super::way::FullWay;
use crate::evm::chain::NodeConfig;
use crate::x402::Network;

pub(super) const NETWORK: Keys =
    Keys { section: "[networks.NAME]", names: &["rpc_url", "confirmations", "block_range"] };

/// What a reorganisation of a rollup in service has never undone.
const CONFIRMATIONS_DEFAULT: u64 = 3;
const CONFIRMATIONS_MAX: u64 = 1000;
/// Most providers allow that many.
const BLOCK_RANGE_DEFAULT: u64 = 1000;
const BLOCK_RANGE_MAX: u64 = 100_000;
/// A path segment of so many bytes is a provider's key.
const KEY_BYTES_MIN: usize = 16;

const URL_HELP: &str = "write the URL of a node's JSON-RPC, such as \"https://mainnet.base.org\"; one with a key in it \
                        belongs into the environment: \"${NAME}\"";
const NAME_HELP: &str = "write [networks.base], or [networks.\"eip155:8453\"]: a name as in a `network` of [pay.NAME]";

/// All nodes, by network.
pub(super) struct Networks(Vec<Declared>);

struct Declared {
    network: Network,
    span: Span,
    /// `None` where an error was reported.
    node: Option<NodeConfig>,
}

/// Reads `[networks.*]`.
pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>) -> Networks {
    let mut networks: Vec<Declared> = Vec::new();
    let tables = match root.value("networks").map(|value| (value, value.get_ref())) {
        None => return Networks(networks),
        Some((_, DeValue::Table(tables))) => tables,
        Some((value, _)) => {
            reader.report(wrong_type(value, "`networks`", "a table of tables", NAME_HELP));
            return Networks(networks);
        }
    };
    for (name, value) in tables {
        let DeValue::Table(table) = value.get_ref() else {
            let what = format!("`networks.{}`", name.get_ref());
            reader.report(wrong_type(value, &what, "a table", NAME_HELP));
            continue;
        };
        let section = Section::open(reader, format!("[networks.{}]", name.get_ref()), value.span(), table, &NETWORK);
        let node = read_node(reader, &section);
        let Ok(network) = Network::parse(name.get_ref()) else {
            let help = did_you_mean(name.get_ref(), Network::aliases()).unwrap_or_else(|| NAME_HELP.to_owned());
            reader.report(Diagnostic::error(name.span(), "not a network", help));
            continue;
        };
        if network.evm_chain_id().is_none() {
            let help = "take it out: payments there are resolved by asking their facilitator again";
            reader.report(Diagnostic::error(name.span(), "only EVM chains can be asked", help));
        }
        if let Some(first) = networks.iter().find(|declared| declared.network == network) {
            let twice = Diagnostic::error(name.span(), "this network is named twice", "keep one of them");
            reader.report(twice.also(first.span.clone(), "the first one"));
        }
        networks.push(Declared { network, span: section.span, node });
    }
    Networks(networks)
}

fn read_node(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<NodeConfig> {
    let url = section.required_text(reader, "rpc_url", URL_HELP).and_then(|text| read_url(reader, &text));
    let whole = |reader: &mut Reader<'_>, key, max, default| {
        if section.value(key).is_none() { Some(default) } else { Some(section.whole(reader, key, 1..=max)?.value) }
    };
    let confirmations = whole(reader, "confirmations", CONFIRMATIONS_MAX, CONFIRMATIONS_DEFAULT);
    let block_range = whole(reader, "block_range", BLOCK_RANGE_MAX, BLOCK_RANGE_DEFAULT);
    Some(NodeConfig { url: url?, confirmations: confirmations?, block_range: block_range? })
}

/// Unlike other URLs this one may hold a user, a password and a query: providers put their keys there.
fn read_url(reader: &mut Reader<'_>, text: &Text) -> Option<Url> {
    let url = Url::parse(&text.value).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else {
        reader.report(Diagnostic::error(text.span.clone(), "not an http:// or https:// URL", URL_HELP));
        return None;
    };
    let has_key = url.password().is_some()
        || url.query().is_some()
        || url.path_segments().is_some_and(|mut segments| segments.any(|segment| segment.len() >= KEY_BYTES_MIN));
    match text.origin {
        Origin::Literal if has_key => warn_literal(reader, text),
        Origin::Literal | Origin::Referenced => {}
    }
    let is_local = url.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
    if url.scheme() == "http" && !is_local {
        reader.report(Diagnostic::warning(
            text.span.clone(),
            "whoever is between here and this node can say that a payment was settled",
            "use an https:// URL, or a node on this machine",
        ));
    }
    Some(url)
}

impl Networks {
    /// Warns of networks on which nobody is paid.
    pub(super) fn warn_unused(&self, reader: &mut Reader<'_>, ways: &Declarations<FullWay>) {
        for Declared { network, span, .. } in &self.0 {
            if !ways.right().any(|(_, _, way)| way.network == *network) {
                reader.report(Diagnostic::warning(
                    span.clone(),
                    format!("no way to pay is on {}", network.alias()),
                    "write its name into a [pay.NAME], or take it out",
                ));
            }
        }
    }

    /// The nodes.
    pub(super) fn nodes(self) -> BTreeMap<Network, NodeConfig> {
        self.0.into_iter().filter_map(|declared| Some((declared.network, declared.node?))).collect()
    }
}
