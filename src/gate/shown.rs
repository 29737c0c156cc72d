//! Which of the fields that a priced request is judged by it has.

use http::HeaderMap;

use super::answer::FAREBOX_PASS;
use crate::x402::header::{PAYMENT_SIGNATURE, X_PAYMENT};

/// One look at each name: that costs less than a search for each field, and most requests have none of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// How long its body is.
    pub(super) length: bool,
    /// A pass, or cookies among which one may be.
    pub(super) passes: bool,
    /// A payment, of either version.
    pub(super) payment: bool,
}

impl Shown {
    pub(super) fn of(headers: &HeaderMap) -> Shown {
        let mut shown = Shown::default();
        for name in headers.keys() {
            match name.as_str() {
                "content-length" => shown.length = true,
                "cookie" => shown.passes = true,
                PAYMENT_SIGNATURE | X_PAYMENT => shown.payment = true,
                name => shown.passes |= name == FAREBOX_PASS.as_str(),
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn each_field_is_seen_wherever_it_stands() {
        let none = Shown::default();
        for (name, shown) in [
            ("content-length", Shown { length: true, ..none }),
            ("cookie", Shown { passes: true, ..none }),
            ("farebox-pass", Shown { passes: true, ..none }),
            ("payment-signature", Shown { payment: true, ..none }),
            ("x-payment", Shown { payment: true, ..none }),
            ("payment-response", none),
        ] {
            for names in [[name, "host", "accept"], ["host", name, "accept"], ["host", "accept", name]] {
                let value = HeaderValue::from_static("");
                let headers: HeaderMap =
                    names.map(|name| (HeaderName::from_static(name), value.clone())).into_iter().collect();
                assert_eq!(Shown::of(&headers), shown, "{names:?}");
            }
        }
    }
}
