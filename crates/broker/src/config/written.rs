//! The values as they were written, with where: a file, then `--override`s over it. Checked one by one against the
//! table; what must hold between them is in [`rules`](super::rules) and [`listeners`](super::listeners).

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use ottla_metadata::settings::{Kind, Value};

use super::error::{ConfigError, Origin, Warning};
use super::{properties, table};

/// No properties file is larger; a larger one is some other file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a start without a file takes for granted: one node that is its own cluster, with its own directory, so that it
/// never meets the data of a Kafka that was started with its defaults.
const BARE_START: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("listeners", "PLAINTEXT://:9092"),
    ("log.dirs", "/tmp/ottla-logs"),
];

/// Values by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    values: BTreeMap<String, WrittenValue>,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenValue {
    /// As it was written.
    pub text: String,
    /// Where.
    pub origin: Origin,
}

impl Written {
    /// Reads the file, if there is one, and the overrides, each `key=value`.
    ///
    /// # Errors
    /// The file cannot be read, or an override has no `=`.
    pub fn gather(file: Option<&Path>, overrides: &[String]) -> Result<Self, ConfigError> {
        let mut written = match file {
            Some(path) => Self::from_text(&path.display().to_string(), &read(path)?)?,
            None => Self::bare_start(),
        };
        for pair in overrides {
            let Some((key, value)) = pair.split_once('=') else {
                let reason = "expected key=value".to_owned();
                return Err(ConfigError { origin: Some(Origin::Override), subject: pair.clone(), reason });
            };
            written.set(key.trim(), value, Origin::Override);
        }
        Ok(written)
    }

    /// What a start without a file takes for granted.
    pub fn bare_start() -> Self {
        let mut written = Self::default();
        for (key, value) in BARE_START {
            written.set(key, value, Origin::BareStart);
        }
        written
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// It is no properties file.
    pub fn from_text(path: &str, text: &str) -> Result<Self, ConfigError> {
        let properties = properties::parse(text).map_err(|error| ConfigError {
            origin: Some(Origin::File { path: path.to_owned(), line: error.line }),
            subject: "escape".to_owned(),
            reason: error.to_string(),
        })?;
        let mut written = Self::default();
        for property in properties {
            let origin = Origin::File { path: path.to_owned(), line: property.line };
            written.set(&property.key, &property.value, origin);
        }
        Ok(written)
    }

    /// Sets a value in place of an older one.
    pub fn set(&mut self, key: &str, text: &str, origin: Origin) {
        self.values.insert(key.to_owned(), WrittenValue { text: text.to_owned(), origin });
    }

    /// Takes the older name of the node's number for the newer one where only that was written, as Kafka does.
    pub fn name_node(&mut self) {
        if self.get("node.id").is_none()
            && let Some(older) = self.values.get("broker.id").cloned()
        {
            self.values.insert("node.id".to_owned(), older);
        }
    }

    /// What was written for `key`.
    pub fn get(&self, key: &str) -> Option<&WrittenValue> {
        self.values.get(key)
    }

    /// Everything that was written, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &WrittenValue)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Checks every value by its row; says which keys have none.
    ///
    /// # Errors
    /// A value fails its type or its bounds.
    pub fn check_each(&self) -> Result<Vec<Warning>, ConfigError> {
        let mut warnings = Vec::new();
        for (key, value) in self.iter() {
            let Some(setting) = table::find_base(key) else {
                let meant = table::suggestion(key).map(|known| format!(" (did you mean {known}?)")).unwrap_or_default();
                let shown = if key.is_empty() { "\"\"" } else { key };
                let text = format!("unknown key {shown}{meant} is ignored");
                warnings.push(Warning { origin: value.origin.clone(), text });
                continue;
            };
            setting.parse_briefly(&value.text).map_err(|reason| self.error(key, reason))?;
        }
        Ok(warnings)
    }

    /// An error about `key`: at the place where it was written, with its value unless that is secret.
    pub fn error(&self, key: &str, reason: impl Into<String>) -> ConfigError {
        let secret = table::find_base(key).is_none_or(|setting| setting.kind == Kind::Password);
        let given = self.get(key);
        let default = || table::find(key).and_then(|setting| setting.default);
        let subject = match given.map(|given| given.text.trim()).or_else(default) {
            Some(text) if !secret => format!("{key}={text}"),
            _ => key.to_owned(),
        };
        ConfigError { origin: given.map(|given| given.origin.clone()), subject, reason: reason.into() }
    }

    /// The value of `key`, or its default; `None` where there is neither. Call [`Written::check_each`] first.
    pub fn value(&self, key: &str) -> Option<Value> {
        let setting = table::find(key).unwrap_or_else(|| unreachable!("{key} is in the table"));
        let text = self.get(key).map(|given| given.text.as_str()).or(setting.default)?;
        Some(setting.parse(text).unwrap_or_else(|wrong| unreachable!("values were checked: {wrong}")))
    }

    /// A number that has a default.
    pub fn number(&self, key: &str) -> i64 {
        self.optional_number(key).unwrap_or_else(|| unreachable!("{key} has a default"))
    }

    /// A number that has a default, as it is for one listener: what was written for that, or else for all.
    pub fn number_of_listener(&self, listener: &str, key: &str) -> i64 {
        let own = self.get(&format!("listener.name.{}.{key}", listener.to_lowercase()));
        let setting = table::find(key).unwrap_or_else(|| unreachable!("{key} is in the table"));
        match own.and_then(|own| setting.parse(&own.text).ok()) {
            Some(Value::Number(number)) => number,
            _ => self.number(key),
        }
    }

    /// A number that may be missing.
    pub fn optional_number(&self, key: &str) -> Option<i64> {
        match self.value(key)? {
            Value::Number(number) => Some(number),
            other => unreachable!("{key} is a number, not {other}"),
        }
    }

    /// A number that the table keeps from being negative.
    pub fn size(&self, key: &str) -> usize {
        usize::try_from(self.number(key)).unwrap_or_else(|_| unreachable!("{key} is checked to be a size"))
    }

    /// A number with a point that has a default.
    pub fn double(&self, key: &str) -> f64 {
        match self.value(key) {
            Some(Value::Double(number)) => number,
            other => unreachable!("{key} is a double with a default, not {other:?}"),
        }
    }

    /// A truth; false without a default.
    pub fn boolean(&self, key: &str) -> bool {
        self.value(key) == Some(Value::Boolean(true))
    }

    /// A text; empty without a default.
    pub fn text(&self, key: &str) -> String {
        match self.value(key) {
            Some(Value::Text(text)) => text,
            None => String::new(),
            Some(other) => unreachable!("{key} is a text, not {other}"),
        }
    }

    /// A list; empty without a default.
    pub fn list(&self, key: &str) -> Vec<String> {
        match self.value(key) {
            Some(Value::List(items)) => items,
            None => Vec::new(),
            Some(other) => unreachable!("{key} is a list, not {other}"),
        }
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let wrong = |reason: String| ConfigError { origin: None, subject: path.display().to_string(), reason };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| wrong(format!("cannot be opened: {error}")))?;
    let limited = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    limited.map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(wrong(format!("has more than {MAX_FILE_BYTES} bytes: this is no properties file")));
    }
    Ok(properties::decode(bytes))
}
