//! "Did you mean": the known name that is nearest to an unknown one.

/// A sentence with the nearest name, if one is near enough to be meant.
pub(super) fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    nearest(name, known).map(|nearest| format!("did you mean `{nearest}`?"))
}

/// The nearest name, if it is at most a third of its letters away. Case does not count as a difference.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The distance costs the product of the lengths, and no name of ours is this long.
    if name.len() > 64 {
        return None;
    }
    let lower = name.to_lowercase();
    known
        .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= known.chars().count().max(lower.chars().count()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance < known.chars().count())
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let known = ["listen", "public_url", "unmatched", "usdc"];
        let cases = [
            ("listne", Some("listen")),
            ("Listen", Some("listen")),
            ("publicurl", Some("public_url")),
            ("unmached", Some("unmatched")),
            ("USDC", Some("usdc")),
            ("timeout", None),
            ("", None),
            ("x", None),
        ];
        for (name, expected) in cases {
            assert_eq!(nearest(name, known.into_iter()), expected, "{name:?}");
        }
        assert_eq!(nearest(&"l".repeat(10_000), known.into_iter()), None);
    }
}
