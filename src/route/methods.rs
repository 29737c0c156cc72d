//! The methods that a route is for.

use std::fmt;

use super::pattern::{PatternError, refuse};

/// The methods of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Methods {
    /// Any method.
    Any,
    /// These, in upper case. `HEAD` follows `GET`.
    Only(Vec<String>),
}

impl Methods {
    /// Reads a list of methods in any case. An empty list is refused: it would match nothing or everything.
    pub fn parse<S: AsRef<str>>(names: &[S]) -> Result<Methods, PatternError> {
        let mut only: Vec<String> = Vec::new();
        for name in names {
            let name = name.as_ref();
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name == "*" {
                return refuse("`*` as a method: leave `methods` out to match any method");
            }
            if name.is_empty() || !name.bytes().all(token) {
                return refuse(format!("`{name}` is not a method: write a name such as `GET`"));
            }
            let upper = name.to_ascii_uppercase();
            if !only.contains(&upper) {
                only.push(upper);
            }
        }
        if only.is_empty() {
            return refuse("no method at all: leave `methods` out to match any method");
        }
        Ok(Methods::Only(only))
    }

    /// Whether a request with this method is one of them. `HEAD` is one where `GET` is.
    ///
    /// In any case: methods are case-sensitive (RFC 9110 section 9.1), but backends take `get` for `GET`, and then it
    /// must cost the same.
    pub fn allow(&self, method: &str) -> bool {
        match self {
            Methods::Any => true,
            Methods::Only(only) => {
                let head = method.eq_ignore_ascii_case("HEAD");
                only.iter().any(|name| name.eq_ignore_ascii_case(method) || (head && name.eq_ignore_ascii_case("GET")))
            }
        }
    }

    /// Whether some method would be answered by both with equal right.
    pub(super) fn tie_with(&self, other: &Methods) -> bool {
        match (self, other) {
            (Methods::Any, Methods::Any) => true,
            (Methods::Only(mine), Methods::Only(theirs)) => {
                mine.iter().any(|name| other.allow(name)) || theirs.iter().any(|name| self.allow(name))
            }
            (Methods::Any, Methods::Only(_)) | (Methods::Only(_), Methods::Any) => false,
        }
    }
}

impl fmt::Display for Methods {
    /// `GET,POST`, or `*` for any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Methods::Any => f.write_str("*"),
            Methods::Only(only) => f.write_str(&only.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_follows_get_and_case_does_not_matter() {
        let get = Methods::parse(&["get", "GET"]).unwrap();
        assert_eq!(get, Methods::Only(vec!["GET".into()]));
        let head = Methods::parse(&["HEAD"]).unwrap();
        for (methods, method, expected) in [
            (&get, "GET", true),
            (&get, "HEAD", true),
            (&get, "head", true),
            (&get, "get", true),
            (&get, "POST", false),
            (&head, "HEAD", true),
            (&head, "GET", false),
            (&Methods::Any, "BREW", true),
        ] {
            assert_eq!(methods.allow(method), expected, "{methods} {method}");
        }
        for bad in [&[][..], &[""], &["*"], &["GET POST"], &["GET", "Ä"]] {
            assert!(Methods::parse(bad).is_err(), "{bad:?}");
        }
    }
}
