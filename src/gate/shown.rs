//! Which of the fields that a priced request is judged by it has.

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
    /// By the names of its fields, in any case.
    pub(super) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Shown {
        let mut shown = Shown::default();
        for name in names {
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            shown.length |= is("content-length");
            shown.passes |= is("cookie") || is(FAREBOX_PASS.as_str());
            shown.payment |= is(PAYMENT_SIGNATURE) || is(X_PAYMENT);
        }
        shown
    }
}

#[cfg(test)]
mod tests {
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
            ("X-Payment", Shown { payment: true, ..none }),
            ("COOKIE", Shown { passes: true, ..none }),
            ("payment-response", none),
        ] {
            for names in [[name, "host", "accept"], ["host", name, "accept"], ["host", "accept", name]] {
                assert_eq!(Shown::of(names), shown, "{names:?}");
            }
        }
    }
}
