//! Durations as people write them.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// The longest duration of any key: a year, so that adding one to a clock never overflows.
pub(super) const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// More than nothing.
pub(super) const POSITIVE: RangeInclusive<Duration> = Duration::from_millis(1)..=LONGEST;
/// Nothing is allowed too.
pub(super) const ANY: RangeInclusive<Duration> = Duration::ZERO..=LONGEST;

/// What would be right.
pub(super) const HELP: &str = "write a duration such as \"500ms\", \"60s\", \"10m\", \"1h30m\" or \"7d\"";

/// Why a text is not a duration that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DurationError {
    #[error("not a duration")]
    NotADuration,
    #[error("too short: at least {}", show(*.0))]
    TooShort(Duration),
    #[error("too long: at most {}", show(*.0))]
    TooLong(Duration),
}

/// Reads jiff's friendly format; a day has 24 hours.
pub(super) fn parse(text: &str, bounds: RangeInclusive<Duration>) -> Result<Duration, DurationError> {
    let span: Span = text.parse().map_err(|_| DurationError::NotADuration)?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| DurationError::NotADuration)?;
    if signed.is_negative() {
        return Err(DurationError::NotADuration);
    }
    let duration = signed.unsigned_abs();
    if duration < *bounds.start() {
        Err(DurationError::TooShort(*bounds.start()))
    } else if duration > *bounds.end() {
        Err(DurationError::TooLong(*bounds.end()))
    } else {
        Ok(duration)
    }
}

/// A duration as the file would have it.
pub fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (duration.subsec_millis(), seconds) {
        (0, 0) => "0s".to_owned(),
        (0, s) if s % 86_400 == 0 => format!("{}d", s / 86_400),
        (0, s) if s % 3_600 == 0 => format!("{}h", s / 3_600),
        (0, s) if s % 60 == 0 && s >= 600 => format!("{}m", s / 60),
        (0, s) => format!("{s}s"),
        (_, _) => format!("{}ms", duration.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_or_refused() {
        let ok = |millis| Ok(Duration::from_millis(millis));
        let too_short = Err(DurationError::TooShort(Duration::from_millis(1)));
        let too_long = Err(DurationError::TooLong(LONGEST));
        let cases = [
            ("500ms", ok(500)),
            ("1.5s", ok(1_500)),
            ("60s", ok(60_000)),
            ("10m", ok(600_000)),
            ("1h30m", ok(5_400_000)),
            ("1h 30m", ok(5_400_000)),
            ("7d", ok(604_800_000)),
            ("366d", ok(366 * 86_400_000)),
            ("366d 1ms", too_long.clone()),
            ("367d", too_long.clone()),
            ("0s", too_short.clone()),
            ("1us", too_short),
            ("", Err(DurationError::NotADuration)),
            ("60", Err(DurationError::NotADuration)),
            ("-5s", Err(DurationError::NotADuration)),
            ("5s ago", Err(DurationError::NotADuration)),
            ("1 month", Err(DurationError::NotADuration)),
            ("999999999999999999999h", Err(DurationError::NotADuration)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, POSITIVE), expected, "{text:?}");
        }
        assert_eq!(parse("0s", ANY), Ok(Duration::ZERO));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(millis in 0u64..=366 * 86_400_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&show(duration), ANY), Ok(duration));
        }
    }
}
