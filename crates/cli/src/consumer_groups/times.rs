//! Points and lengths of time, as Java reads them.

/// A day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Reads `YYYY-MM-DDThh:mm:ss.sss`, with `Z`, `±hh`, `±hhmm` or `±hh:mm` behind it, or UTC; gives milliseconds since 1970. As
/// in Java a number may have fewer digits than that, the last one counts milliseconds, and what follows is not looked at.
///
/// # Errors
/// It is no such time. The message is Kafka's.
pub fn read_datetime(text: &str) -> Result<i64, String> {
    const PACKAGE: &str = "java.text.ParseException";
    let Some((_, time)) = text.split_once('T').filter(|(_, time)| !time.is_empty()) else {
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
    Some(days_since_1970(year, month, day) * DAY_MS + of_day - parse_zone(rest)?)
}

/// What a zone is ahead of UTC, in milliseconds.
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
    let hours = two(rest)?;
    let minutes = match rest[2..].strip_prefix(':') {
        Some(minutes) => two(minutes)?,
        None => 0,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
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

/// Reads `PnDTnHnMn.nS`, each part with a sign of its own; gives milliseconds.
///
/// # Errors
/// It is no such duration. The message is Java's.
pub fn read_duration(text: &str) -> Result<i64, String> {
    parse_duration(&text.to_ascii_uppercase()).ok_or_else(|| "Text cannot be parsed to a Duration".to_owned())
}

fn parse_duration(text: &str) -> Option<i64> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let rest = rest.strip_prefix('P')?;
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let mut total = if days.is_empty() { 0 } else { whole(days.strip_suffix('D')?)?.checked_mul(DAY_MS)? };
    let mut time = time;
    for (unit, unit_ms) in [('H', 3_600_000), ('M', 60_000)] {
        if let Some((number, rest)) = time.split_once(unit) {
            total = total.checked_add(whole(number)?.checked_mul(unit_ms)?)?;
            time = rest;
        }
    }
    if !time.is_empty() {
        total = total.checked_add(seconds(time.strip_suffix('S')?)?)?;
    }
    total.checked_mul(sign)
}

fn whole(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok()).flatten()
}

/// Seconds with up to nine decimals, in milliseconds.
fn seconds(text: &str) -> Option<i64> {
    let (seconds, decimals) = text.split_once(['.', ',']).unwrap_or((text, ""));
    if decimals.len() > 9 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let milliseconds: i64 = format!("{decimals:0<3}")[..3].parse().ok()?;
    let sign = if seconds.starts_with('-') { -1 } else { 1 };
    whole(seconds)?.checked_mul(1000)?.checked_add(sign * milliseconds)
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
            assert_eq!(read_duration(text).ok(), expected, "{text}");
        }
    }
}
