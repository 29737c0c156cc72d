use super::*;
use crate::route::escape::{comparable, leading_hex_byte};
use proptest::prelude::*;

fn canonical(target: &str) -> Result<String, Ambiguous> {
    CanonicalTarget::parse(target.as_bytes()).map(|target| target.path_and_query().to_owned())
}

#[test]
fn one_resource_has_one_spelling() {
    let cases = [
        ("/", "/"),
        ("/premium", "/premium"),
        ("/premium/", "/premium/"),
        ("/%70remium", "/premium"),
        ("/%7Euser/%2d%5f%2E5", "/~user/-_.5"),
        ("/a%20b%c3%a9", "/a%20b%C3%A9"),
        ("/Case/As/Sent", "/Case/As/Sent"),
        ("//premium", "/premium"),
        ("///", "/"),
        ("/a///b//", "/a/b/"),
        ("/x/../premium", "/premium"),
        ("/x/%2e%2E/premium", "/premium"),
        ("/x/.%2e/premium", "/premium"),
        ("/./a/./b/.", "/a/b/"),
        ("/a/b/..", "/a/"),
        ("/a/..", "/"),
        ("/a//../b", "/b"),
        ("/.", "/"),
        ("/.well-known/x402", "/.well-known/x402"),
        ("/a/...", "/a/..."),
        ("/a/..b/c..", "/a/..b/c.."),
        ("/a!$&'()*+,=:@b", "/a!$&'()*+,=:@b"),
        ("/%40me%2B", "/%40me%2B"),
        ("/\"<>[]^`{|}", "/%22%3C%3E%5B%5D%5E%60%7B%7C%7D"),
        ("/what%3fnow%23", "/what%3Fnow%23"),
        ("/100%25", "/100%25"),
        ("/100%25zz", "/100%25zz"),
        ("/50%25%20off", "/50%25%20off"),
        ("/a?", "/a?"),
        ("/a?b=%2f;c\\|{}&..//d?e", "/a?b=%2f;c\\|{}&..//d?e"),
        ("/%61?%61", "/a?%61"),
    ];
    for (sent, expected) in cases {
        assert_eq!(canonical(sent).as_deref(), Ok(expected), "{sent}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    use Ambiguous as A;
    let cases: &[(&[u8], Ambiguous)] = &[
        (b"", A::Empty),
        (b"*", A::NotAPath),
        (b"premium", A::NotAPath),
        (b"?a", A::NotAPath),
        (b"http://host/premium", A::NotAPath),
        (b"/a#b", A::Fragment),
        (b"/a?b#c", A::Fragment),
        (b"/a b", A::Space),
        (b"/a?b c", A::Space),
        (b"/a\0", A::ControlCharacter),
        (b"/a\tb", A::ControlCharacter),
        (b"/a?\r\nx", A::ControlCharacter),
        (b"/a\x7f", A::ControlCharacter),
        (b"/a%00", A::ControlCharacter),
        (b"/a%0d%0ab", A::ControlCharacter),
        (b"/a%7F", A::ControlCharacter),
        (b"/caf\xc3\xa9", A::NotAscii),
        (b"/a?\xff", A::NotAscii),
        (b"/%", A::MalformedEscape),
        (b"/%4", A::MalformedEscape),
        (b"/%4g", A::MalformedEscape),
        (b"/%%32%46", A::MalformedEscape),
        (b"/%u002f", A::MalformedEscape),
        (b"/%+1", A::MalformedEscape),
        (b"/a%2fb", A::EncodedSlash),
        (b"/a%2Fb", A::EncodedSlash),
        (b"/a/..%2fb", A::EncodedSlash),
        (b"/a\\b", A::Backslash),
        (b"/a%5Cb", A::Backslash),
        (b"/a;b=c", A::PathParameter),
        (b"/..;/a", A::PathParameter),
        (b"/a%3bb", A::PathParameter),
        (b"/a%20/b", A::EdgeSpace),
        (b"/%20a", A::EdgeSpace),
        (b"/a%2520", A::HiddenEscape),
        (b"/%ff", A::InvalidUtf8),
        (b"/%c3", A::InvalidUtf8),
        (b"/%c3/%a9", A::InvalidUtf8),
        (b"/%c0%af", A::InvalidUtf8),
        (b"/%e0%80%af", A::InvalidUtf8),
        (b"/%ed%a0%80", A::InvalidUtf8),
        (b"/..", A::AboveRoot),
        (b"/../a", A::AboveRoot),
        (b"/a/../../b", A::AboveRoot),
        (b"/%2e%2e/a", A::AboveRoot),
        (b"/%252F", A::HiddenEscape),
        (b"/twice%2520over", A::HiddenEscape),
        (b"/caf%25C3%25A9", A::HiddenEscape),
        (b"/%255Ba%255D", A::HiddenEscape),
        (b"/%252e%252e/a", A::HiddenEscape),
        (b"/%255c", A::HiddenEscape),
        (b"/%253B", A::HiddenEscape),
        (b"/%2500", A::HiddenEscape),
        (b"/%2570remium", A::HiddenEscape),
        (b"/%2540me", A::HiddenEscape),
        (b"/a%253Fb", A::HiddenEscape),
        (b"/%25252f", A::HiddenEscape),
        (b"/%25%32%46", A::HiddenEscape),
        (b"/%252%46", A::HiddenEscape),
    ];
    for (sent, expected) in cases {
        let got = CanonicalTarget::parse(sent);
        assert_eq!(got, Err(*expected), "{}", sent.escape_ascii());
    }
}

#[test]
fn a_target_may_be_8_kib_long_and_no_longer() {
    let longest = format!("/{}", "a".repeat(TARGET_BYTES_MAX - 1));
    assert_eq!(canonical(&longest).as_deref(), Ok(longest.as_str()));
    assert_eq!(canonical(&format!("{longest}a")), Err(Ambiguous::TooLong));
    // Escaping would make three bytes of one.
    let grown = format!("/{}", "|".repeat(TARGET_BYTES_MAX / 2));
    assert_eq!(canonical(&grown), Err(Ambiguous::TooLong));
}

#[test]
fn a_canonical_target_is_borrowed() {
    for target in ["/", "/v1/premium/?a=%2f", "/a%20b", "/.well-known/x"] {
        let parsed = CanonicalTarget::parse(target.as_bytes()).unwrap();
        assert!(parsed.was_canonical(), "{target}");
        assert_eq!(parsed.clone().into_owned(), parsed);
    }
    assert!(!CanonicalTarget::parse(b"/%61").unwrap().was_canonical());
}

#[test]
fn path_and_query_are_told_apart() {
    let target = CanonicalTarget::parse(b"//a?b?c").unwrap();
    assert_eq!((target.path(), target.query()), ("/a", Some("b?c")));
    let target = CanonicalTarget::parse(b"/a?").unwrap();
    assert_eq!((target.path(), target.query()), ("/a", Some("")));
    let target = CanonicalTarget::parse(b"/a").unwrap();
    assert_eq!((target.path(), target.query()), ("/a", None));
}

#[test]
fn each_step_that_changed_something_is_told() {
    let mut steps = Vec::new();
    let sent = b"/x/%2e%2E//%61?q";
    let target = CanonicalTarget::parse_by_steps(sent, |step, path| steps.push((step, path.to_owned()))).unwrap();
    assert_eq!(target.path_and_query(), "/a?q");
    let expected = [(Step::Escapes, "/x/..//a"), (Step::Slashes, "/x/../a"), (Step::DotSegments, "/a")];
    assert_eq!(steps, expected.map(|(step, path)| (step, path.to_owned())));
}

/// Targets out of the parts that make trouble.
fn tricky_target() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just("/"),
        Just("//"),
        Just("."),
        Just(".."),
        Just("%2e"),
        Just("%2E"),
        Just("%"),
        Just("%25"),
        Just("25"),
        Just("61"),
        Just("40"),
        Just("2e"),
        Just("2f"),
        Just("%2"),
        Just("%32"),
        Just("%46"),
        Just("a"),
        Just("%61"),
        Just("|"),
        Just("%7c"),
        Just("@"),
        Just("%40"),
        Just("%c3%a9"),
        Just("%c3"),
        Just("?"),
        Just("~"),
        Just(";"),
        Just("\\"),
        Just("F"),
        Just("%20"),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| format!("/{}", parts.concat()).into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn canonical_targets_stay_as_they_are(target in tricky_target()) {
        if let Ok(once) = CanonicalTarget::parse(&target) {
            let twice = CanonicalTarget::parse(once.path_and_query().as_bytes());
            prop_assert_eq!(twice.as_ref(), Ok(&once));
            prop_assert!(twice.is_ok_and(|twice| twice.was_canonical()));
        }
    }

    #[test]
    fn no_canonical_segment_decodes_to_a_separator_or_a_dot_segment(target in tricky_target()) {
        let Ok(target) = CanonicalTarget::parse(&target) else { return Ok(()) };
        prop_assert!(target.path().starts_with('/') && !target.path().contains("//"));
        for segment in segments(target.path()) {
            // Also for a backend that decodes several times.
            let mut decoded = segment.as_bytes().to_vec();
            for _ in 0..4 {
                prop_assert!(!decoded.iter().any(|b| matches!(b, b'/' | b'\\' | b';' | 0..=31 | 127)));
                prop_assert!(decoded != b"." && decoded != b"..");
                prop_assert!(!decoded.starts_with(b" ") && !decoded.ends_with(b" "));
                decoded = decode_leniently(&decoded);
            }
        }
    }

    #[test]
    fn a_backend_that_decodes_several_times_finds_no_other_plain_segment(target in tricky_target()) {
        let Ok(target) = CanonicalTarget::parse(&target) else { return Ok(()) };
        for segment in segments(target.path()) {
            let matched = comparable(segment);
            let mut decoded = segment.as_bytes().to_vec();
            for _ in 0..4 {
                decoded = decode_leniently(&decoded);
                if decoded.iter().all(|&byte| is_unreserved(byte) || is_raw_reserved(byte)) {
                    prop_assert_eq!(matched.as_bytes(), decoded.as_slice());
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(target in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = CanonicalTarget::parse(&target);
        let mut path = b"/".to_vec();
        path.extend(target);
        let _ = CanonicalTarget::parse(&path);
    }

    #[test]
    fn the_query_is_never_touched(query in "[!-\"$-~]{0,40}") {
        let target = format!("//a?{query}");
        let parsed = CanonicalTarget::parse(target.as_bytes()).unwrap();
        prop_assert_eq!(parsed.query(), Some(query.as_str()));
    }
}

fn decode_leniently(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match leading_hex_byte(&text[at + 1..]).filter(|_| text[at] == b'%') {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(text[at]);
                at += 1;
            }
        }
    }
    decoded
}
