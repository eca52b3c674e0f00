//! Text to value, value to text, with the sentences that Kafka says about wrong ones.
//!
//! Differs from Kafka: a floating point number is decimal (no hexadecimal digits, no `d` or `f` at its end) and never
//! NaN; Kafka takes those because Java does.

use std::collections::BTreeSet;
use std::fmt;

use super::setting::{Check, Kind, Setting};

/// A value of a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of kind Boolean.
    Boolean(bool),
    /// Of kind Int, Short or Long.
    Number(i64),
    /// Of kind Double.
    Double(f64),
    /// Of kind String, Class or Password.
    Text(String),
    /// Of kind List.
    List(Vec<String>),
}

/// Why a text is no value.
pub(super) struct Wrong {
    value: Option<String>,
    /// What is wrong.
    pub(super) reason: String,
}

impl Wrong {
    fn new(value: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self { value: Some(value.to_string()), reason: reason.into() }
    }

    /// The whole sentence.
    pub(super) fn sentence(&self, key: &str) -> String {
        match &self.value {
            Some(value) => format!("Invalid value {value} for configuration {key}: {}", self.reason),
            None => format!("Configuration '{key}' {}", self.reason),
        }
    }
}

impl Value {
    /// The truth of a Boolean.
    pub fn boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The number of an Int, Short or Long.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// The number of a Double.
    pub fn double(&self) -> Option<f64> {
        match self {
            Self::Double(value) => Some(*value),
            _ => None,
        }
    }

    /// The text of a String, Class or Password.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }

    /// The items of a List.
    pub fn list(&self) -> Option<&[String]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Double(value) => fmt_double(*value, f),
            Self::Text(value) => f.write_str(value),
            Self::List(items) => f.write_str(&items.join(",")),
        }
    }
}

/// As Java writes a double: always with a fraction, and from 10 millions up, or below a thousandth, with an exponent.
fn fmt_double(value: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let size = value.abs();
    if value.is_infinite() {
        return f.write_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return write!(f, "{value:?}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => write!(f, "{mantissa}.0E{exponent}"),
        Some((mantissa, exponent)) => write!(f, "{mantissa}E{exponent}"),
        None => f.write_str(&text),
    }
}

pub(super) fn parse(setting: &Setting, text: &str) -> Result<Value, Wrong> {
    let value = read(setting, text)?;
    check(setting, value)
}

fn read(setting: &Setting, text: &str) -> Result<Value, Wrong> {
    let trimmed = text.trim_matches(|c: char| c <= ' ');
    let no_number = |kind: &str| Wrong::new(text, format!("Not a number of type {kind}"));
    match setting.kind {
        Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
        Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
        Kind::Boolean => Err(Wrong::new(text, "Expected value to be either true or false")),
        Kind::Int => trimmed.parse::<i32>().map(|n| Value::Number(n.into())).map_err(|_| no_number("INT")),
        Kind::Short => trimmed.parse::<i16>().map(|n| Value::Number(n.into())).map_err(|_| no_number("SHORT")),
        Kind::Long => trimmed.parse().map(Value::Number).map_err(|_| no_number("LONG")),
        Kind::Double => match trimmed.parse::<f64>() {
            Ok(number) if !number.is_nan() => Ok(Value::Double(number)),
            _ => Err(no_number("DOUBLE")),
        },
        Kind::List if trimmed.is_empty() => Ok(Value::List(Vec::new())),
        Kind::List => Ok(Value::List(trimmed.split(',').map(|item| item.trim().to_owned()).collect())),
        Kind::String | Kind::Class | Kind::Password | Kind::Unknown => Ok(Value::Text(trimmed.to_owned())),
    }
}

fn check(setting: &Setting, value: Value) -> Result<Value, Wrong> {
    match (setting.check, value) {
        (Check::AtLeast(least), Value::Number(number)) => within(number, least, i64::MAX),
        (Check::Between(least, most), Value::Number(number)) => within(number, least, most),
        (Check::BetweenOr(least, most, other), Value::Number(number)) => {
            if number == other || (least..=most).contains(&number) {
                return Ok(Value::Number(number));
            }
            Err(Wrong::new(number, format!("Value must be between {least} and {most} or equal to {other}")))
        }
        (Check::Fraction(least, most), Value::Double(number)) => {
            let value = Value::Double(number);
            if number < least {
                return Err(Wrong::new(value, format!("Value must be at least {least}")));
            }
            if number > most {
                return Err(Wrong::new(value, format!("Value must be no more than {most}")));
            }
            Ok(value)
        }
        (Check::OneOf(allowed), Value::Text(text)) => {
            one_of(&text, allowed)?;
            Ok(Value::Text(text))
        }
        (Check::OneOfAnyCase(allowed), Value::Text(text)) => {
            if allowed.iter().any(|item| item.eq_ignore_ascii_case(&text)) {
                return Ok(Value::Text(text));
            }
            let names = allowed.join(", ");
            Err(Wrong::new(text, format!("String must be one of (case insensitive): {names}")))
        }
        (Check::NonEmpty, Value::Text(text)) if text.is_empty() => Err(Wrong::new(text, "String must be non-empty")),
        (Check::Items, Value::List(items)) => unique(items, true, None),
        (Check::SomeItems, Value::List(items)) => unique(items, false, None),
        (Check::ItemsOf(allowed), Value::List(items)) => unique(items, true, Some(allowed)),
        (Check::SomeItemsOf(allowed), Value::List(items)) => unique(items, false, Some(allowed)),
        (Check::ThrottledReplicas, Value::List(items)) => throttled_replicas(setting.name, items),
        // No check, or one that does not fit the type: `Setting::assert_sound` sees to it that no row has one.
        (_, value) => Ok(value),
    }
}

fn within(number: i64, least: i64, most: i64) -> Result<Value, Wrong> {
    if number < least {
        return Err(Wrong::new(number, format!("Value must be at least {least}")));
    }
    if number > most {
        return Err(Wrong::new(number, format!("Value must be no more than {most}")));
    }
    Ok(Value::Number(number))
}

fn one_of(text: &str, allowed: &[&str]) -> Result<(), Wrong> {
    if allowed.contains(&text) {
        return Ok(());
    }
    Err(Wrong::new(text, format!("String must be one of: {}", allowed.join(", "))))
}

fn unique(items: Vec<String>, may_be_empty: bool, allowed: Option<&[&str]>) -> Result<Value, Wrong> {
    let wrong = |reason: String| Err(Wrong { value: None, reason });
    if items.is_empty() && !may_be_empty {
        let names = allowed.map_or("any non-empty value".to_owned(), |allowed| format!("[{}]", allowed.join(", ")));
        return wrong(format!("must not be empty. Valid values include: {names}"));
    }
    let mut known = BTreeSet::new();
    let mut kept: Vec<String> = Vec::with_capacity(items.len());
    for item in items {
        if item.is_empty() {
            return wrong("values must not be empty.".to_owned());
        }
        if let Some(allowed) = allowed {
            one_of(&item, allowed)?;
        }
        if known.insert(item.clone()) {
            kept.push(item);
        }
    }
    Ok(Value::List(kept))
}

fn throttled_replicas(key: &str, items: Vec<String>) -> Result<Value, Wrong> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_replica = |item: &String| item.split_once(':').is_some_and(|(a, b)| is_number(a) && is_number(b));
    if items.iter().all(is_replica) || items == ["*"] {
        return Ok(Value::List(items));
    }
    let reason = format!(
        "{key} must be the literal '*' or a list of replicas in the following format: \
         [partitionId]:[brokerId],[partitionId]:[brokerId],..."
    );
    Err(Wrong::new(format_args!("[{}]", items.join(", ")), reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Dynamic;

    fn show(number: f64) -> String {
        Value::Double(number).to_string()
    }

    #[test]
    fn doubles_are_written_as_java_writes_them() {
        assert_eq!(show(0.5), "0.5");
        assert_eq!(show(1e6), "1000000.0");
        assert_eq!(show(1e7), "1.0E7");
        assert_eq!(show(0.00025), "2.5E-4");
        assert_eq!(show(f64::MAX), "1.7976931348623157E308");
        assert_eq!(show(-0.0), "-0.0");
    }

    #[test]
    fn surrounding_blanks_do_not_count() {
        let setting = Setting::new(Kind::Long, "k", None, Check::Any, Dynamic::ReadOnly);
        assert_eq!(setting.parse(" +5\t"), Ok(Value::Number(5)));
    }

    #[test]
    fn items_given_twice_count_once() {
        let setting = Setting::new(Kind::List, "k", None, Check::Items, Dynamic::ReadOnly);
        assert_eq!(setting.parse("a , b,a"), Ok(Value::List(vec!["a".to_owned(), "b".to_owned()])));
    }
}
