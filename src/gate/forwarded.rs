//! Whom proxies say that they forward for: `X-Forwarded-For`, and `Forwarded` (RFC 7239).

use std::net::{IpAddr, SocketAddr};

/// The addresses of one `X-Forwarded-For`, the last first; `None` for what is none. Empty places of a list are nothing
/// (RFC 9110 section 5.6.1).
pub(super) fn x_forwarded_for(value: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    let places = value.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|place| !place.is_empty());
    places.map(|place| std::str::from_utf8(place).ok().and_then(node))
}

/// The `for` of each element of one `Forwarded`, the last first; `None` for one that names no address. A value that
/// is not what the RFC describes names nobody.
pub(super) fn forwarded(value: &[u8]) -> Vec<Option<IpAddr>> {
    let Some(elements) = std::str::from_utf8(value).ok().and_then(|text| split(text, ',')) else { return vec![None] };
    let elements = elements.into_iter().map(str::trim).filter(|element| !element.is_empty());
    elements.rev().map(element).collect()
}

/// The address in one `for=192.0.2.1;proto=https`; of several `for` none is believed.
fn element(element: &str) -> Option<IpAddr> {
    let mut named = None;
    for pair in split(element, ';')? {
        let Some((name, value)) = pair.trim().split_once('=') else { continue };
        if name.eq_ignore_ascii_case("for") && named.replace(value).is_some() {
            return None;
        }
    }
    let value = named?;
    node(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// The pieces between separators that stand outside quotes; `None` where a quote is not closed.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut quoted, mut escaped) = (false, false);
    let pieces = text.split(|character| {
        let separates = character == separator && !quoted;
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        separates
    });
    let pieces = pieces.collect();
    (!quoted).then_some(pieces)
}

/// An address, perhaps with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let bare = || text.parse::<IpAddr>().ok();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare().or_else(bracketed).or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = (x_forwarded_for(&value).count(), forwarded(&value));
        }

        /// Whatever a client writes itself, what its proxy adds is the last that is said, or nothing is.
        #[test]
        fn nothing_before_hides_what_a_proxy_adds(sent in "[a-z=\\\\\",;:\\[\\] 0-9.]{0,40}") {
            let added: IpAddr = [203, 0, 113, 7].into();
            let last = forwarded(format!("{sent}, for={added}").as_bytes()).first().copied().flatten();
            prop_assert!(last.is_none() || last == Some(added), "{last:?}");
            let last = x_forwarded_for(format!("{sent}, {added}").as_bytes()).next().flatten();
            prop_assert_eq!(last, Some(added));
        }
    }
}
