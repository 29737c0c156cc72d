//! The targets, and how a careless backend might read one.

const TARGETS: &str = include_str!("targets.txt");

/// A request target in the bytes of the wire, but for the host that it may name.
pub struct Target(Vec<u8>);

impl Target {
    /// For a host.
    pub fn on(&self, host: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = self.0.as_slice();
        while let Some((first, after)) = rest.split_first() {
            match rest.strip_prefix(b"{host}") {
                Some(after) => {
                    bytes.extend(host.bytes());
                    rest = after;
                }
                None => {
                    bytes.push(*first);
                    rest = after;
                }
            }
        }
        bytes
    }
}

/// All of them.
pub fn targets() -> Vec<Target> {
    TARGETS.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")).map(read).collect()
}

fn read(line: &str) -> Target {
    let mut bytes = Vec::new();
    let mut rest = line;
    while let Some((before, escape)) = rest.split_once('\\') {
        bytes.extend(before.bytes());
        rest = if let Some(after) = escape.strip_prefix('\\') {
            bytes.push(b'\\');
            after
        } else {
            let hex = escape.strip_prefix('x').and_then(|hex| hex.get(..2)).unwrap_or_else(|| panic!("{line}"));
            bytes.push(u8::from_str_radix(hex, 16).unwrap_or_else(|_| panic!("{line}")));
            &escape[3..]
        };
    }
    bytes.extend(rest.bytes());
    Target(bytes)
}

/// Whether some backend might take this for a path that is sold: one that decodes once, twice or three times, takes a
/// backslash for a slash, cuts at `;` or at NUL, and resolves dot segments in whatever order. Not one that folds case.
pub fn may_be_priced(target: &str) -> bool {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let path =
        path.find("://").map_or(path, |at| path[at + 3..].find('/').map_or("/", |slash| &path[at + 3 + slash..]));
    let mut bytes = path.as_bytes().to_vec();
    (0..4).any(|_| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        bytes = decode(&bytes);
        readings(&text).iter().any(|segments| is_priced(segments))
    })
}

/// The segments of a path, before and after each kind of carelessness.
fn readings(path: &str) -> Vec<Vec<String>> {
    let path = path.split('\0').next().unwrap_or_default();
    let mut readings = Vec::new();
    for slashed in [path.to_owned(), path.replace('\\', "/")] {
        for cut in [false, true] {
            let segments: Vec<&str> = slashed
                .split('/')
                .map(|segment| if cut { segment.split(';').next().unwrap_or_default() } else { segment })
                .filter(|segment| !segment.is_empty())
                .collect();
            let mut resolved: Vec<String> = Vec::new();
            for segment in &segments {
                match *segment {
                    "." => {}
                    ".." => drop(resolved.pop()),
                    segment => resolved.push(segment.trim().to_owned()),
                }
            }
            readings.push(resolved);
        }
    }
    readings
}

fn is_priced(segments: &[String]) -> bool {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    matches!(segments.as_slice(), ["premium", ..] | ["exact"] | ["items", _, "full"])
}

fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let hex = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    decoded
}

#[test]
fn a_careless_backend_is_taken_into_account() {
    for target in [
        "/premium/report",
        "/%70remium",
        "/%2570remium/x",
        "//premium",
        "/a/../premium/x?y",
        "/a\\..\\premium",
        "/a/..%5cpremium",
        "/a/..;x/premium",
        "/premium;x",
        "/exact%00.png",
        "/items//7/full",
        "http://a/premium",
    ] {
        assert!(may_be_priced(target), "{target}");
    }
    for target in ["/", "/free/page", "/premiums", "/items/7", "/items/full", "/free?/premium", "/PREMIUM"] {
        assert!(!may_be_priced(target), "{target}");
    }
}
