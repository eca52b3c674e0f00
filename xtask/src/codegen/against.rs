//! Compares our schemas with those that Kafka keeps in its jars, field by field.
//!
//! What is compared: which messages there are, their keys, versions and flexible versions; of each field its place,
//! name, type, versions, nullability, tag and default; of each API also where it is served and what is stable. What is
//! not: names of structs, prose, and what only Kafka's own code generator needs. A field of theirs that no valid
//! version carries is never on the wire and is passed over, as is a message without valid versions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ottla_protocol::ApiKey;
use serde_json::Value;

use super::jar;
use super::output;
use super::schema::{Field, Kind, Message, Versions};

/// Differences that are meant: the message, what differs, and why.
const INTENDED: &[(&str, &str, &str)] = &[
    ("ProduceRequest", OLDER, LIBRDKAFKA),
    ("ProduceResponse", OLDER, LIBRDKAFKA),
    ("FetchRequest", OLDER, OLD_CLIENTS),
    ("FetchResponse", OLDER, OLD_CLIENTS),
    ("ListOffsetsRequest", OLDER, OLD_CLIENTS),
    ("ListOffsetsResponse", OLDER, OLD_CLIENTS),
    ("OffsetCommitRequest", OLDER, OLD_CLIENTS),
    ("OffsetCommitResponse", OLDER, OLD_CLIENTS),
    ("OffsetFetchRequest", OLDER, OLD_CLIENTS),
    ("OffsetFetchResponse", OLDER, OLD_CLIENTS),
    ("CreateTopicsRequest", OLDER, OLD_CLIENTS),
    ("CreateTopicsResponse", OLDER, OLD_CLIENTS),
    ("DeleteTopicsRequest", OLDER, OLD_CLIENTS),
    ("DeleteTopicsResponse", OLDER, OLD_CLIENTS),
    ("OffsetForLeaderEpochRequest", OLDER, OLD_CLIENTS),
    ("OffsetForLeaderEpochResponse", OLDER, OLD_CLIENTS),
    ("DescribeConfigsRequest", OLDER, OLD_CLIENTS),
    ("DescribeConfigsResponse", OLDER, OLD_CLIENTS),
    ("DescribeAclsRequest", OLDER, OLD_CLIENTS),
    ("DescribeAclsResponse", OLDER, OLD_CLIENTS),
    ("CreateAclsRequest", OLDER, OLD_CLIENTS),
    ("CreateAclsResponse", OLDER, OLD_CLIENTS),
    ("DeleteAclsRequest", OLDER, OLD_CLIENTS),
    ("DeleteAclsResponse", OLDER, OLD_CLIENTS),
    ("RequestHeader", ABSENT, "written by hand: its version follows from its own first fields"),
    ("ResponseHeader", ABSENT, "written by hand, with that of requests"),
];
const OLDER: &str = "older versions";
const ABSENT: &str = "not in our schemas";
const LIBRDKAFKA: &str = "version 0 is advertised (KAFKA-18659), so somebody may send it";
const OLD_CLIENTS: &str = "clients that broke when Kafka 4.0 dropped these versions";

/// Compares, prints what differs, and fails if anything does.
pub fn compare(root: &Path, jars: &Path) -> Result<(), String> {
    let mut ours: BTreeMap<String, Message> = BTreeMap::new();
    for file in ["requests.txt", "internal.txt"] {
        ours.extend(output::schemas(root, file)?.into_iter().map(|message| (message.name.clone(), message)));
    }
    let theirs = published(jars)?;
    let mut differences = Differences::default();
    let mut compared = 0;
    for (name, json) in &theirs {
        let Some(versions) = json["validVersions"].as_str().and_then(Versions::parse) else { continue };
        match ours.remove(name) {
            Some(message) => {
                compared += 1;
                differences.message(&message, json, versions)?;
            }
            None => differences.add(name, ABSENT, ""),
        }
    }
    for name in ours.keys() {
        differences.add(name, "not in Kafka's", "");
    }
    for (message, what, reason) in INTENDED {
        match differences.intended.contains(&(message, what)) {
            true => println!("intended: {message}: {what} ({reason})"),
            false => differences.found.push(format!("{message}: {what}: listed as intended, but it is not there")),
        }
    }
    for difference in &differences.found {
        println!("{difference}");
    }
    println!("{compared} messages compared, {} differences", differences.found.len());
    match differences.found.is_empty() {
        true => Ok(()),
        false => Err("our schemas differ from Kafka's".to_owned()),
    }
}

/// The schemas in the jars of a folder, by the name of the message.
fn published(jars: &Path) -> Result<BTreeMap<String, Value>, String> {
    let unreadable = |error| format!("cannot list {}: {error}", jars.display());
    let mut schemas = BTreeMap::new();
    for entry in fs::read_dir(jars).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with("kafka") || !name.ends_with(".jar") {
            continue;
        }
        for (name, text) in jar::json_files(&path)? {
            let text: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let json: Value = serde_json::from_str(&text.join("\n")).map_err(|error| format!("{name}: {error}"))?;
            if let (Some(name), true) = (json["name"].as_str(), json["validVersions"].is_string()) {
                schemas.insert(name.to_owned(), json);
            }
        }
    }
    if schemas.is_empty() {
        return Err(format!("no jar in {} has message schemas", jars.display()));
    }
    Ok(schemas)
}

#[derive(Default)]
struct Differences<'a> {
    found: Vec<String>,
    intended: Vec<(&'a str, &'a str)>,
}

/// The structs of one of their messages by name.
type Structs<'a> = BTreeMap<&'a str, &'a [Value]>;

impl Differences<'_> {
    fn add(&mut self, message: &str, what: &str, detail: &str) {
        match INTENDED.iter().find(|intended| intended.0 == message && intended.1 == what) {
            Some((message, what, _)) => self.intended.push((message, what)),
            None => self.found.push(format!("{message}: {what}{detail}")),
        }
    }

    fn message(&mut self, ours: &Message, json: &Value, valid: Versions) -> Result<(), String> {
        let name = &ours.name;
        if ours.versions.first < valid.first && ours.versions.last == valid.last {
            self.add(name, OLDER, "");
        } else if ours.versions != valid {
            self.add(name, "versions", &format!(": {:?}, theirs {valid:?}", ours.versions));
        }
        let flexible =
            json["flexibleVersions"].as_str().and_then(Versions::parse).map_or(i16::MAX, |versions| versions.first);
        if ours.flexible_from != flexible {
            self.add(name, "flexible from", &format!(": {}, theirs {flexible}", ours.flexible_from));
        }
        let key = json["apiKey"].as_i64();
        if ours.key.map(i64::from) != key {
            self.add(name, "key", &format!(": {:?}, theirs {key:?}", ours.key));
        }
        if json["type"] == "request" {
            self.api(ours, json, valid)?;
        }
        let mut structs = Structs::new();
        for common in json["commonStructs"].as_array().into_iter().flatten() {
            if let (Some(name), Some(fields)) = (common["name"].as_str(), common["fields"].as_array()) {
                structs.insert(name, fields);
                collect(fields, &mut structs);
            }
        }
        let fields = json["fields"].as_array().ok_or_else(|| format!("{name} has no fields"))?;
        collect(fields, &mut structs);
        self.fields(ours, name, &ours.fields, fields, &structs, valid);
        Ok(())
    }

    /// What the list of APIs says, against the request's schema.
    fn api(&mut self, ours: &Message, json: &Value, valid: Versions) -> Result<(), String> {
        let name = &ours.name;
        let api = ours.key.and_then(ApiKey::from_code).ok_or_else(|| format!("{name} is no API of our list"))?;
        if name.strip_suffix("Request") != Some(api.name()) {
            self.add(name, "name of the API", &format!(": {api}"));
        }
        let unstable = json["latestVersionUnstable"].as_bool().unwrap_or(false);
        let served = valid.first..=valid.last - i16::from(unstable);
        if api.kafka_versions() != served {
            self.add(name, "served versions", &format!(": {:?}, theirs {served:?}", api.kafka_versions()));
        }
        let flexible_from = (valid.first..=valid.last).find(|version| api.is_flexible(*version));
        if flexible_from != (valid.first..=valid.last).find(|version| ours.is_flexible(*version)) {
            self.add(name, "flexible versions of the API", &format!(": {flexible_from:?}"));
        }
        let on = |listener| json["listeners"].as_array().is_some_and(|all| all.iter().any(|one| *one == listener));
        if (api.is_on_broker(), api.is_on_controller()) != (on("broker"), on("controller")) {
            self.add(name, "listeners", &format!(": theirs {}", json["listeners"]));
        }
        Ok(())
    }

    fn fields(
        &mut self,
        message: &Message,
        path: &str,
        ours: &[Field],
        theirs: &[Value],
        structs: &Structs<'_>,
        within: Versions,
    ) {
        let ours = ours.iter().filter(|field| !field.versions.and(within).is_empty());
        let theirs = theirs.iter().filter(|field| !carried(field, within).is_empty());
        let (ours, theirs): (Vec<_>, Vec<_>) = (ours.collect(), theirs.collect());
        let our_names: Vec<&str> = ours.iter().map(|field| field.name.as_str()).collect();
        let their_names: Vec<&str> = theirs.iter().map(|field| field["name"].as_str().unwrap_or_default()).collect();
        if our_names != their_names {
            self.add(path, "fields", &format!(": {our_names:?}, theirs {their_names:?}"));
            return;
        }
        for (our, their) in ours.into_iter().zip(theirs) {
            self.field(message, &format!("{path}.{}", our.name), our, their, structs, within);
        }
    }

    fn field(
        &mut self,
        message: &Message,
        path: &str,
        our: &Field,
        their: &Value,
        structs: &Structs<'_>,
        within: Versions,
    ) {
        let carried = carried(their, within);
        if our.versions.and(within) != carried {
            self.add(path, "versions", &format!(": {:?}, theirs {carried:?}", our.versions.and(within)));
        }
        let nullable = versions_of(their, "nullableVersions", carried);
        let our_nullable = our.nullable.map_or(NONE, |nullable| nullable.and(carried));
        if our_nullable != nullable && !(our_nullable.is_empty() && nullable.is_empty()) {
            self.add(path, "nullable", &format!(": {our_nullable:?}, theirs {nullable:?}"));
        }
        let tag = their["tag"].as_u64();
        if our.tag.map(u64::from) != tag {
            self.add(path, "tag", &format!(": {:?}, theirs {tag:?}", our.tag));
        }
        let tagged = versions_of(their, "taggedVersions", carried);
        if tag.is_some() && tagged != carried {
            self.add(path, "tag", &format!(": theirs is a tag in {tagged:?} only"));
        }
        let (our_default, their_default) = (default_of_ours(our), default_of_theirs(their));
        if our_default != their_default {
            self.add(path, "default", &format!(": {our_default:?}, theirs {their_default:?}"));
        }
        let (mut kind, mut name) = (&our.kind, their["type"].as_str().unwrap_or_default());
        while let (Kind::Array(element), Some(rest)) = (kind, name.strip_prefix("[]")) {
            (kind, name) = (element, rest);
        }
        match kind {
            Kind::Struct(ours) if structs.contains_key(name) => {
                self.fields(message, path, &message.structure(ours).fields, structs[name], structs, carried);
            }
            kind if type_name(kind) == name => {}
            kind => self.add(path, "type", &format!(": {kind:?}, theirs {name}")),
        }
    }
}

const NONE: Versions = Versions { first: i16::MAX, last: -1 };

/// The versions that carry a field of theirs. One that is only ever a tag need not say them twice.
fn carried(field: &Value, within: Versions) -> Versions {
    let key = if field["versions"].is_string() { "versions" } else { "taggedVersions" };
    versions_of(field, key, within)
}

/// The versions under `key`, as far as they are `within`; none where there is no such key.
fn versions_of(field: &Value, key: &str, within: Versions) -> Versions {
    field[key].as_str().and_then(Versions::parse).map_or(NONE, |versions| versions.and(within))
}

/// Finds the structs that `fields` define where they use them.
fn collect<'a>(fields: &'a [Value], structs: &mut Structs<'a>) {
    for field in fields {
        if let (Some(name), Some(inner)) = (field["type"].as_str(), field["fields"].as_array()) {
            structs.insert(name.trim_start_matches("[]"), inner);
            collect(inner, structs);
        }
    }
}

/// A default in one form: `None` for what a field without default holds.
fn default_of_ours(field: &Field) -> Option<String> {
    let text = match (field.default.as_deref()?, &field.kind) {
        ("max", Kind::Int32) => i32::MAX.to_string(),
        ("min", Kind::Int32) => i32::MIN.to_string(),
        ("max", Kind::Int64) => i64::MAX.to_string(),
        ("min", Kind::Int64) => i64::MIN.to_string(),
        (text, _) => text.to_owned(),
    };
    plain(&text)
}

/// Theirs are text, numbers or truth values; a number may be hexadecimal, and a null without quotes is no default.
fn default_of_theirs(field: &Value) -> Option<String> {
    let text = match &field["default"] {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let hexadecimal = text.strip_prefix("0x").or(text.strip_prefix("-0x"));
    match hexadecimal.and_then(|digits| i64::from_str_radix(digits, 16).ok()) {
        Some(number) if text.starts_with('-') => plain(&(-number).to_string()),
        Some(number) => plain(&number.to_string()),
        None => plain(&text),
    }
}

fn plain(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    if matches!(text.as_str(), "" | "0" | "false") { None } else { Some(text) }
}

/// Kafka's name of a type without structure.
fn type_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool => "bool",
        Kind::Int8 => "int8",
        Kind::Int16 => "int16",
        Kind::Int32 => "int32",
        Kind::Int64 => "int64",
        Kind::Uint16 => "uint16",
        Kind::Uint32 => "uint32",
        Kind::Float64 => "float64",
        Kind::Uuid => "uuid",
        Kind::String => "string",
        Kind::Bytes => "bytes",
        Kind::Records => "records",
        Kind::Array(_) => "an array",
        Kind::Struct(_) => "a struct",
    }
}
