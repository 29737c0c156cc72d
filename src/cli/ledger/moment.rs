//! Moments as people write them, and as the ledger's reports show them. All in UTC.

use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::ledger::UnixMillis;

/// Reads `2026-11-20` (its first moment), `2026-11-20T08:30:00Z`, `2026-11-20T08:30` or `24h`, `7d` (before now).
pub(super) fn parse(text: &str, now: Timestamp) -> Result<UnixMillis, String> {
    let wanted = || "write a date (2026-11-20), a timestamp (2026-11-20T08:30:00Z) or so long ago (24h, 7d)".to_owned();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp.as_millisecond());
    }
    if let Ok(span) = text.parse::<Span>() {
        if span.is_negative() {
            return Err(wanted());
        }
        let now = now.to_zoned(TimeZone::UTC);
        let then = now.checked_sub(span).map_err(|_| "before the beginning of the calendar".to_owned())?;
        return Ok(then.timestamp().as_millisecond());
    }
    let local = text.parse::<civil::DateTime>().map_err(|_| wanted())?;
    local.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp().as_millisecond()).map_err(|_| wanted())
}

/// RFC 3339 with milliseconds; a time that no calendar has is left as it is.
pub(super) fn exact(at: UnixMillis) -> String {
    match Timestamp::from_millisecond(at) {
        Ok(timestamp) => format!("{timestamp:.3}"),
        Err(_) => at.to_string(),
    }
}

/// RFC 3339 to the second, for a table.
pub(super) fn short(at: UnixMillis) -> String {
    match Timestamp::from_millisecond(at) {
        Ok(timestamp) => format!("{timestamp:.0}"),
        Err(_) => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let cases = [
            ("2026-11-20", Some("2026-11-20T00:00:00.000Z")),
            ("2026-11-20T08:30:00Z", Some("2026-11-20T08:30:00.000Z")),
            ("2026-11-20T08:30:00+02:00", Some("2026-11-20T06:30:00.000Z")),
            ("2026-11-20T08:30", Some("2026-11-20T08:30:00.000Z")),
            ("2026-11-20 08:30:01.5", Some("2026-11-20T08:30:01.500Z")),
            ("24h", Some("2026-11-19T12:00:00.000Z")),
            ("90m", Some("2026-11-20T10:30:00.000Z")),
            ("7d", Some("2026-11-13T12:00:00.000Z")),
            ("1mo", Some("2026-10-20T12:00:00.000Z")),
            ("-24h", None),
            ("24h ago", None),
            ("24", None),
            ("", None),
            ("tomorrow", None),
            ("2026-02-30", None),
            ("99999y", None),
        ];
        for (text, expected) in cases {
            let read = parse(text, now).ok().map(exact);
            assert_eq!(read.as_deref(), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_written_or_stored_makes_time_panic(text in ".{0,40}", at in any::<i64>()) {
            let _ = parse(&text, Timestamp::UNIX_EPOCH);
            prop_assert!(!exact(at).is_empty() && !short(at).is_empty());
        }
    }
}
