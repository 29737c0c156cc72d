//! `[pay.NAME]`: the ways to be paid.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::address;
use super::declared::Declarations;
use super::diagnostic::{Diagnostic, Span};
use super::duration;
use super::facilitator::FacilitatorConfig;
use super::section::{Keys, Reader, Section, Text, quoted, wrong_type};
use super::suggest::did_you_mean;
use crate::x402::asset::Eip712Domain;
use crate::x402::offer::{PRIMARY_TYPE, TRANSFER_WITH_AUTHORIZATION};
use crate::x402::{Asset, Network};

/// `[pay.NAME]`: one way to be paid, without an amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Its `[facilitators.*]`, in order of preference; never empty.
    pub facilitators: Vec<Arc<str>>,
    /// How long one payment's verification takes at most over all of them, and how long after its beginning a
    /// settlement may be begun with the next one.
    pub facilitator_timeout: Duration,
}

pub(super) const WAY: Keys = Keys {
    section: "[pay.NAME]",
    names: &["network", "asset", "pay_to", "facilitators", "facilitator_timeout", "max_timeout", "extra"],
};
pub(super) const ASSET: Keys = Keys { section: "`asset`", names: &["address", "decimals", "name", "version"] };

/// Facilitators want six seconds left, so that less than this cannot be paid.
const MAX_TIMEOUT_MIN: Duration = Duration::from_secs(11);
/// A quote is honoured for as long, and a signed payment lies about for as long.
const MAX_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
const MAX_TIMEOUT_DEFAULT: u64 = 300;
/// One facilitator that is silent, and two more.
const FACILITATOR_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// More decimals than any token has; 10 to this power fits an amount twice over.
const DECIMALS_MAX: u64 = 36;

const NETWORK_HELP: &str =
    "write a CAIP-2 name such as \"eip155:8453\" or an alias such as \"base\" or \"base-sepolia\"";
const PAY_TO_HELP: &str = "write `pay_to = \"0x…\"`: the address that the money goes to";
const FACILITATORS_HELP: &str =
    "write `facilitators = [\"main\"]` with the NAMEs of [facilitators.NAME], the best first";
const ASSET_HELP: &str =
    "write a symbol such as \"USDC\", or { address = \"0x…\", decimals = 6, name = \"…\", version = \"…\" }";

/// A way to pay with everything that an offer needs but the amount.
#[derive(Debug, Clone)]
pub(super) struct FullWay {
    pub(super) network: Network,
    pub(super) network_at: Span,
    pub(super) asset: Asset,
    pub(super) asset_at: Span,
    pub(super) pay_to: Arc<str>,
    pub(super) facilitators: Vec<Arc<str>>,
    pub(super) facilitators_at: Span,
    pub(super) facilitator_timeout: Duration,
    pub(super) max_timeout_seconds: u64,
    pub(super) extra: Arc<Map<String, Value>>,
}

/// Reads `[pay.*]`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    root: &Section<'_>,
    facilitators: &Declarations<FacilitatorConfig>,
) -> Declarations<FullWay> {
    Declarations::read(reader, root, "pay", &WAY, "way to pay", |reader, _, section| {
        let network = section.required_text(reader, "network", NETWORK_HELP).and_then(|text| {
            let network = read_network(reader, &text)?;
            Some((network, text.span))
        });
        let max_timeout_seconds = read_max_timeout(reader, section);
        let names = read_facilitators(reader, section, facilitators);
        let facilitator_timeout = section.timeout(reader, "facilitator_timeout", FACILITATOR_TIMEOUT_DEFAULT);
        let file_extra = read_extra(reader, section);
        let pay_to = section.required_text(reader, "pay_to", PAY_TO_HELP);
        if section.value("asset").is_none() {
            section.missing(reader, "asset", ASSET_HELP);
        }
        let Some((network, network_at)) = network else {
            pay_to.iter().for_each(|text| address::judge_alone(reader, text));
            return None;
        };
        let asset = read_asset(reader, section, &network);
        let pay_to = pay_to.and_then(|text| {
            let address = address::read(reader, &text, &network)?;
            Some((address, text.span))
        });
        let (asset, asset_at) = asset?;
        let extra = merge_extra(reader, section, &asset, file_extra?)?;
        let (pay_to, pay_to_at) = pay_to?;
        if pay_to == asset.address {
            let title = "the money would go to the token's own contract, and stay there";
            reader.report(Diagnostic::error(pay_to_at, title, "write an address that you own").also(asset_at, ""));
            return None;
        }
        let (facilitators, facilitators_at) = names?;
        Some(FullWay {
            network,
            network_at,
            asset,
            asset_at,
            pay_to,
            facilitators,
            facilitators_at,
            facilitator_timeout,
            max_timeout_seconds: max_timeout_seconds?,
            extra: extra.into(),
        })
    })
}

fn read_network(reader: &mut Reader<'_>, text: &Text) -> Option<Network> {
    let network = Network::parse(&text.value).ok();
    if network.is_none() {
        let help = did_you_mean(&text.value, Network::aliases()).unwrap_or_else(|| NETWORK_HELP.to_owned());
        reader.report(Diagnostic::error(text.span.clone(), "not a network", help));
    }
    network
}

fn read_max_timeout(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<u64> {
    if section.value("max_timeout").is_none() {
        return Some(MAX_TIMEOUT_DEFAULT);
    }
    let at = section.duration(reader, "max_timeout", duration::ANY)?;
    let wrong = if at.value < MAX_TIMEOUT_MIN {
        "`max_timeout` is so short that nobody could pay: facilitators want six seconds left of it"
    } else if at.value > MAX_TIMEOUT_MAX {
        "`max_timeout` is longer than a day: a price shown today would hold as long"
    } else if at.value.subsec_nanos() != 0 {
        "`max_timeout` must be whole seconds"
    } else {
        return Some(at.value.as_secs());
    };
    reader.report(Diagnostic::error(at.span, wrong, "write \"60s\" to \"300s\"; at least \"11s\", at most \"24h\""));
    None
}

fn read_facilitators(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    facilitators: &Declarations<FacilitatorConfig>,
) -> Option<(Vec<Arc<str>>, Span)> {
    let Some(texts) = section.texts(reader, "facilitators", FACILITATORS_HELP) else {
        if section.value("facilitators").is_none() {
            section.missing(reader, "facilitators", FACILITATORS_HELP);
        }
        return None;
    };
    if texts.value.is_empty() {
        let title = "`facilitators` is empty: nobody would settle";
        reader.report(Diagnostic::error(texts.span, title, FACILITATORS_HELP));
        return None;
    }
    let mut names: Vec<Arc<str>> = Vec::new();
    for text in &texts.value {
        let Some((name, _)) = facilitators.find(reader, text) else { continue };
        if names.contains(name) {
            let title = "this facilitator is named twice";
            reader.report(Diagnostic::error(text.span.clone(), title, "name each facilitator once, the best first"));
        } else {
            names.push(name.clone());
        }
    }
    Some((names, texts.span))
}

fn read_asset(reader: &mut Reader<'_>, section: &Section<'_>, network: &Network) -> Option<(Asset, Span)> {
    let value = section.value("asset")?;
    let asset = match value.get_ref() {
        DeValue::Table(table) => {
            let inner = Section::open(reader, "`asset`", value.span(), table, &ASSET);
            read_own_asset(reader, &inner, network)
        }
        DeValue::String(_) => {
            let symbol = reader.text(value, "`asset`", ASSET_HELP)?;
            known_asset(reader, &symbol, network)
        }
        _ => {
            reader.report(wrong_type(value, "`asset`", "a symbol or a table", ASSET_HELP));
            None
        }
    };
    Some((asset?, value.span()))
}

fn known_asset(reader: &mut Reader<'_>, symbol: &Text, network: &Network) -> Option<Asset> {
    let asset = Asset::known(network, &symbol.value);
    if asset.is_none() {
        let known: Vec<&str> = Asset::known_symbols(network).collect();
        let title = format!("no token of this symbol is known on {}", network.alias());
        let help = if known.is_empty() {
            "write { address = \"0x…\", decimals = 6, name = \"…\", version = \"…\" }; name and version are those of \
             the contract's EIP-712 domain"
                .to_owned()
        } else {
            format!("{} has {}; for another token write {{ address = \"0x…\", … }}", network.alias(), quoted(&known))
        };
        reader.report(Diagnostic::error(symbol.span.clone(), title, help));
    }
    asset
}

fn read_own_asset(reader: &mut Reader<'_>, section: &Section<'_>, network: &Network) -> Option<Asset> {
    let address = section
        .required_text(reader, "address", "write the address of the token's contract")
        .and_then(|text| Some((address::read(reader, &text, network)?, text.span)));
    if section.value("decimals").is_none() {
        section.missing(reader, "decimals", "write how many decimals the token has; USDC has 6");
    }
    let decimals = section.whole(reader, "decimals", 0..=DECIMALS_MAX);
    let eip712 = read_domain(reader, section, network);
    let (address, address_at) = address?;
    let decimals = decimals.and_then(|at| u8::try_from(at.value).ok())?;
    let asset = Asset { symbol: address.clone(), address, decimals, eip712: eip712? };
    let known = Asset::known_symbols(network)
        .filter_map(|symbol| Asset::known(network, symbol))
        .find(|known| known.address == asset.address);
    let Some(known) = known else { return Some(asset) };
    if known.decimals == asset.decimals && known.eip712 == asset.eip712 {
        return Some(known);
    }
    let right = known
        .eip712
        .as_ref()
        .map_or(String::new(), |domain| format!(", name = \"{}\", version = \"{}\"", domain.name, domain.version));
    let help = format!("write `asset = \"{}\"`, which has decimals = {}{right}", known.symbol, known.decimals);
    let title = format!("this is {} on {}, and its contract says otherwise", known.symbol, network.alias());
    reader.report(Diagnostic::error(address_at, title, help));
    None
}

/// The inner `None` is Solana's: it has no EIP-712 domains.
fn read_domain(reader: &mut Reader<'_>, section: &Section<'_>, network: &Network) -> Option<Option<Eip712Domain>> {
    let [name, version] = ["name", "version"].map(|key| {
        let help = "write it as the contract's EIP-712 domain has it: a wrong one is a bad signature";
        if network.evm_chain_id().is_some() {
            return section.required_text(reader, key, help);
        }
        if section.value(key).is_some() {
            let title = format!("`{key}` is for EVM tokens, and this network is Solana");
            reader.report(Diagnostic::error(section.key_span(key), title, "take it out"));
        }
        None
    });
    if network.evm_chain_id().is_none() {
        return Some(None);
    }
    Some(Some(Eip712Domain { name: name?.value.into(), version: version?.value.into() }))
}

fn read_extra(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Map<String, Value>> {
    let Some(value) = section.value("extra") else { return Some(Map::new()) };
    match value.get_ref() {
        DeValue::Table(table) => json_table(reader, table),
        _ => {
            let help = "write `extra = { key = \"value\" }`: it is shown to clients as it is";
            reader.report(wrong_type(value, "`extra`", "a table", help));
            None
        }
    }
}

fn json_table(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Option<Map<String, Value>> {
    let entries: Vec<Option<(String, Value)>> = table
        .iter()
        .map(|(key, value)| Some((key.get_ref().clone().into_owned(), json_value(reader, value)?)))
        .collect();
    entries.into_iter().collect()
}

/// A value of the file as JSON. The parser bounds how deep values nest.
fn json_value(reader: &mut Reader<'_>, value: &toml::Spanned<DeValue<'_>>) -> Option<Value> {
    let help = "write a text, a whole number, a finite number, true, false, a list or a table";
    let number = match value.get_ref() {
        DeValue::String(_) => {
            return reader.text(value, "a value of `extra`", help).map(|text| Value::String(text.value));
        }
        DeValue::Boolean(flag) => return Some(Value::Bool(*flag)),
        DeValue::Array(values) => {
            let values: Vec<Option<Value>> = values.iter().map(|value| json_value(reader, value)).collect();
            return values.into_iter().collect::<Option<Vec<Value>>>().map(Value::Array);
        }
        DeValue::Table(table) => return json_table(reader, table).map(Value::Object),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix()).ok().map(Value::from),
        DeValue::Float(digits) => {
            digits.as_str().parse().ok().and_then(serde_json::Number::from_f64).map(Value::Number)
        }
        DeValue::Datetime(_) => None,
    };
    if number.is_none() {
        reader.report(Diagnostic::error(value.span(), "a value that JSON does not have", help));
    }
    number
}

/// The file's `extra` and what the asset says of itself; the two must not contradict each other.
fn merge_extra(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    asset: &Asset,
    mut extra: Map<String, Value>,
) -> Option<Map<String, Value>> {
    let Some(domain) = &asset.eip712 else { return Some(extra) };
    let mut agrees = true;
    for (key, own) in [("name", &domain.name), ("version", &domain.version)] {
        let own = Value::String(own.to_string());
        if extra.get(key).is_some_and(|value| *value != own) {
            let title = format!("`extra.{key}` contradicts the asset: a client would sign for another token");
            let help = format!("take `{key}` out of `extra`: the asset's own, {own}, is always there");
            reader.report(Diagnostic::error(section.key_span("extra"), title, help));
            agrees = false;
        }
        extra.insert(key.to_owned(), own);
    }
    // thirdweb's client signs only where it is told what; the others do not look.
    extra.entry(PRIMARY_TYPE).or_insert_with(|| TRANSFER_WITH_AUTHORIZATION.into());
    agrees.then_some(extra)
}
