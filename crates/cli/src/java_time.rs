//! Points and lengths of time, as Java reads them.

use std::time::Duration;

/// A day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What zones may be apart from UTC, in milliseconds, by Java's calendar.
const ZONES_MS: std::ops::RangeInclusive<i64> = -13 * 3_600_000..=14 * 3_600_000;
/// The seconds in a day.
const DAY_SECONDS: i64 = DAY_MS / 1000;
/// Seconds from 1970 to the last and to the first instant that Java has.
const LAST_INSTANT_SECONDS: i64 = 31_556_889_864_403_199;
const FIRST_INSTANT_SECONDS: i64 = -31_557_014_167_219_200;

/// Reads `YYYY-MM-DDThh:mm:ss.sss`, with `Z`, `±hh`, `±hhmm` or `±hh:mm` behind it, or UTC; gives milliseconds since 1970. As
/// in Java a number may have fewer digits than that, and blanks before it, the last one counts milliseconds, and what follows is
/// not looked at.
///
/// # Errors
/// It is no such time. The message is Kafka's.
pub fn read_datetime(text: &str) -> Result<i64, String> {
    const PACKAGE: &str = "java.text.ParseException";
    // As Java splits, nothing comes after the last of the separators.
    let mut parts = text.trim_end_matches('T').split('T').skip(1);
    let Some(time) = parts.next() else {
        return Err(format!(
            "{PACKAGE}: Error parsing timestamp. It does not contain a 'T' according to ISO8601 format"
        ));
    };
    let zoned = if time.contains(['+', '-', 'Z']) { text.to_owned() } else { format!("{text}Z") };
    parse_datetime(&zoned).ok_or_else(|| format!("{PACKAGE}: Unparseable date: \"{zoned}\""))
}

fn parse_datetime(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut number = |end: Option<char>| -> Option<i64> {
        rest = without_blanks(rest);
        let digits = rest.len() - rest.trim_start_matches(|character: char| character.is_ascii_digit()).len();
        let value = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        if let Some(end) = end {
            rest = rest.strip_prefix(end)?;
        }
        Some(value)
    };
    let (year, month, day) = (number(Some('-'))?, number(Some('-'))?, number(Some('T'))?);
    let (hour, minute) = (number(Some(':'))?, number(Some(':'))?);
    let (second, millisecond) = (number(Some('.'))?, number(None)?);
    let in_range = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second)
        && (0..1000).contains(&millisecond)
        && (1..=292_278_993).contains(&year);
    if !in_range {
        return None;
    }
    let of_day = ((hour * 60 + minute) * 60 + second) * 1000 + millisecond;
    Some(days_since_1970(year, month, day) * DAY_MS + of_day - parse_zone(without_blanks(rest))?)
}

fn without_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// What a zone is ahead of UTC, in milliseconds. Kafka's tool reads it with minutes first, and without them if that fails.
fn parse_zone(text: &str) -> Option<i64> {
    if text.starts_with('Z') {
        return Some(0);
    }
    let (sign, rest) = match text.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, text.strip_prefix('-')?),
    };
    let two = |text: &str| -> Option<i64> {
        let digits = text.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse().ok()
    };
    let hours = two(rest).filter(|hours| *hours < 24)?;
    let minutes = rest[2..].strip_prefix(':').and_then(two).filter(|minutes| *minutes < 60);
    let zone = |minutes| Some(sign * (hours * 60 + minutes) * 60_000).filter(|zone_ms| ZONES_MS.contains(zone_ms));
    minutes.and_then(zone).or_else(|| zone(0))
}

/// In the calendar of today, also for the time before it.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Counted from March, the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// A length of time that is not negative.
///
/// # Errors
/// It is none, or Java has no such time before now.
pub fn duration(text: &str) -> Result<Duration, (&'static str, String)> {
    let length_ms = before(0, text)?.saturating_neg();
    let negative = ("java.lang.IllegalArgumentException", "The duration must not be negative".to_owned());
    u64::try_from(length_ms).map(Duration::from_millis).map_err(|_| negative)
}

/// The time that lies a duration before `now_ms`: `PnDTnHnMn.nS`, each part with a sign of its own.
///
/// # Errors
/// It is no such duration, or Java has no such time: the class of its exception, and the message.
pub fn before(now_ms: i64, text: &str) -> Result<i64, (&'static str, String)> {
    let seconds_ms = parse_duration(&text.to_ascii_uppercase());
    let (seconds, ms) = seconds_ms.map_err(|what| {
        ("java.time.format.DateTimeParseException", format!("Text cannot be parsed to a Duration{what}"))
    })?;
    let then = i128::from(now_ms) - i128::from(seconds) * 1000 - i128::from(ms);
    let then_seconds = then.div_euclid(1000);
    if !(i128::from(FIRST_INSTANT_SECONDS)..=i128::from(LAST_INSTANT_SECONDS)).contains(&then_seconds) {
        return Err(("java.time.DateTimeException", "Instant exceeds minimum or maximum instant".to_owned()));
    }
    i64::try_from(then).map_err(|_| ("java.lang.ArithmeticException", "long overflow".to_owned()))
}

/// Seconds and milliseconds; else which part is too large for Java, as it says so.
fn parse_duration(text: &str) -> Result<(i64, i64), &'static str> {
    const WRONG: &str = "";
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let rest = rest.strip_prefix('P').ok_or(WRONG)?;
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return Err(WRONG),
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    if days.is_empty() && time.is_empty() {
        return Err(WRONG);
    }
    let mut total = 0_i64;
    let mut add = |number: Option<i64>, unit_seconds: i64, too_large| {
        let seconds = number.ok_or(WRONG)?.checked_mul(unit_seconds);
        total = seconds.and_then(|seconds| total.checked_add(seconds)).ok_or(too_large)?;
        Ok::<(), &str>(())
    };
    if !days.is_empty() {
        add(days.strip_suffix('D').and_then(whole), DAY_SECONDS, ": days")?;
    }
    let mut time = time;
    for (unit, unit_seconds, too_large) in [('H', 3600, ": hours"), ('M', 60, ": minutes")] {
        if let Some((number, rest)) = time.split_once(unit) {
            add(whole(number), unit_seconds, too_large)?;
            time = rest;
        }
    }
    let mut ms = 0;
    if !time.is_empty() {
        let (seconds, of_second) = time.strip_suffix('S').and_then(seconds).ok_or(WRONG)?;
        add(Some(seconds), 1, ": seconds")?;
        ms = of_second;
    }
    Ok((total.checked_mul(sign).ok_or(": overflow")?, ms * sign))
}

fn whole(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok()).flatten()
}

/// Seconds with up to nine decimals: as seconds and milliseconds.
fn seconds(text: &str) -> Option<(i64, i64)> {
    let (seconds, decimals) = text.split_once(['.', ',']).unwrap_or((text, ""));
    if decimals.len() > 9 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let milliseconds: i64 = format!("{decimals:0<3}")[..3].parse().ok()?;
    let sign = if seconds.starts_with('-') { -1 } else { 1 };
    Some((whole(seconds)?, sign * milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_java_reads_them() {
        for (text, expected) in [
            ("1970-01-01T00:00:00.000", Some(0)),
            ("2024-02-29T12:34:56.789Z", Some(1_709_210_096_789)),
            ("2024-02-29T12:34:56.789+02:00", Some(1_709_202_896_789)),
            ("2024-02-29T12:34:56.789-0530", Some(1_709_228_096_789)),
            ("2024-02-29T12:34:56.789-05", Some(1_709_228_096_789)),
            ("2024-2-9T1:2:3.5", Some(1_707_440_523_005)),
            (" 2024- 02-\t29T 12: 34: 56. 789 +02:00", Some(1_709_202_896_789)),
            ("2024-02-29T12:34:56.789+01:60", Some(1_709_206_496_789)),
            ("2024-02-29T12:34:56.789+14:30", Some(1_709_159_696_789)),
            ("2024-02-29T12:34:56.789+23:59", None),
            ("2024-02-29T12:34:56.789-14", None),
            ("2024 -02-29T12:34:56.789Z", None),
            ("1969-12-31T23:59:59.999Z", Some(-1)),
            ("2023-02-29T00:00:00.000", None),
            ("2024-01-01T00:00:00", None),
            ("2024-01-01T24:00:00.000", None),
            ("2024-01-01", None),
            ("nonsense", None),
        ] {
            assert_eq!(read_datetime(text).ok(), expected, "{text}");
        }
        let refused = read_datetime("2020-01-01T00:00:00").unwrap_err();
        assert_eq!(refused, "java.text.ParseException: Unparseable date: \"2020-01-01T00:00:00Z\"");
        let refused = read_datetime("2020-01-01TT00:00:00.000Z").unwrap_err();
        assert_eq!(refused, "java.text.ParseException: Unparseable date: \"2020-01-01TT00:00:00.000ZZ\"");
        assert!(read_datetime("2020-01-01TT").unwrap_err().contains("does not contain a 'T'"));
    }

    #[test]
    fn durations_are_read_as_java_reads_them() {
        for (text, expected) in [
            ("PT0S", Some(0)),
            ("P1D", Some(DAY_MS)),
            ("P1DT2H30M4.5S", Some(DAY_MS + 9_004_500)),
            ("pt-6h", Some(-21_600_000)),
            ("-PT1M", Some(-60_000)),
            ("PT-0.5S", Some(-500)),
            ("P", None),
            ("PT", None),
            ("P1DT", None),
            ("1D", None),
            ("P1H", None),
            ("PT1", None),
            ("PTS", None),
        ] {
            assert_eq!(before(0, text).ok(), expected.map(|duration_ms: i64| -duration_ms), "{text}");
        }
        for (text, expected) in [
            ("P106751991167300D", "Instant exceeds minimum or maximum instant"),
            ("P106751991167301D", "Text cannot be parsed to a Duration: days"),
            ("P200000000000D", "long overflow"),
            ("nonsense", "Text cannot be parsed to a Duration"),
        ] {
            assert_eq!(before(0, text).unwrap_err().1, expected, "{text}");
        }
    }
}
