//! Bytes on a connection of HTTP/1.

use http::{HeaderMap, Method, header};

use crate::proxy::door::head::{Fields, Seen, read};

/// What is read of a plain head.
struct Plain {
    method: Method,
    target: Vec<u8>,
    authority: String,
    headers: HeaderMap,
    bytes: usize,
}

/// A head is plain when all of it is there and not before, whatever follows; and then it says, line by line, what was
/// read of it, and nothing of a body.
pub fn unpaid_head(data: &[u8]) {
    let Some(plain) = plain(data) else { return };
    let (head, rest) = data.split_at(plain.bytes);
    assert_eq!(bytes_of(head), Some(plain.bytes), "what follows changes nothing: {rest:?}");
    for end in [1, 2, 3, plain.bytes / 2].map(|back| head.len().saturating_sub(back)) {
        assert!(matches!(read(&head[..end], |_| Some(())), Seen::Part), "plain before its end");
    }

    let head = latin_1(head);
    let lines = head.trim_start_matches("\r\n").strip_suffix("\r\n\r\n").expect("an empty line at the end");
    assert!(!lines.replace("\r\n", "").contains(['\r', '\n', '\0']), "one reading of a line's end");
    let (first, fields) = lines.split_once("\r\n").expect("a Host");
    assert_eq!(first, format!("{} {} HTTP/1.1", plain.method, latin_1(&plain.target)));
    assert!(plain.method == Method::GET || plain.method == Method::HEAD);

    let fields: Vec<_> = fields.split("\r\n").map(|line| line.split_once(':').expect("a name")).collect();
    assert_eq!(fields.len(), plain.headers.len());
    for (name, value) in fields {
        let value = value.trim_matches([' ', '\t']);
        assert!(plain.headers.get_all(name).iter().any(|read| latin_1(read.as_bytes()) == value), "{name}: {value}");
    }
    assert_eq!(plain.headers.get_all(header::HOST).iter().count(), 1);
    assert_eq!(plain.headers[header::HOST].as_bytes(), plain.authority.as_bytes());
    for framing in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        assert!(!plain.headers.contains_key(framing), "a body");
    }
}

fn plain(data: &[u8]) -> Option<Plain> {
    let seen = read(data, |head| {
        let Fields { headers, .. } = head.fields()?;
        let (method, bytes) = (head.method.clone(), head.bytes());
        Some(Plain { method, target: head.target.to_vec(), authority: head.authority.to_owned(), headers, bytes })
    });
    match seen {
        Seen::Plain(plain) => Some(plain),
        Seen::Part | Seen::Other => None,
    }
}

/// A character for each byte.
fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn bytes_of(data: &[u8]) -> Option<usize> {
    plain(data).map(|plain| plain.bytes)
}
