//! The schema files of `schema/` as values: which fields a message has, in which versions. The head of `requests.txt`
//! describes their notation.
//!
//! Code is written from them (`cargo xtask codegen`), tests make messages of their own from them, and `ottla dump-log` prints
//! records by them. Not here: whether they are right (`cargo xtask codegen --against kafka`).

use std::collections::BTreeMap;

/// The text of `requests.txt`.
pub const REQUESTS: &str = include_str!("../schema/requests.txt");
/// The text of `internal.txt`.
pub const INTERNAL: &str = include_str!("../schema/internal.txt");

/// Versions from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The first.
    pub first: i16,
    /// The last; `i16::MAX` where it is open.
    pub last: i16,
}

/// A request, a response, or an internal record.
#[derive(Clone, Debug)]
pub struct Message {
    /// The API key, or the type of the record.
    pub key: Option<i16>,
    /// Kafka's name.
    pub name: String,
    /// The group of an internal record; empty for requests and responses.
    pub group: String,
    /// All versions we know.
    pub versions: Versions,
    /// The first flexible version, `i16::MAX` where there is none.
    pub flexible_from: i16,
    /// The fields of the message itself.
    pub fields: Vec<Field>,
    /// The structs inside it, each after those it contains.
    pub structs: Vec<Struct>,
}

/// A struct inside a message.
#[derive(Clone, Debug)]
pub struct Struct {
    /// Its name, which no other struct of the message has.
    pub name: String,
    /// Its fields.
    pub fields: Vec<Field>,
    /// The versions in which something holds one.
    pub versions: Versions,
}

/// A field of a message or of a struct.
#[derive(Clone, Debug)]
pub struct Field {
    /// Kafka's name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// The versions that carry it.
    pub versions: Versions,
    /// The versions in which it may be null.
    pub nullable: Option<Versions>,
    /// Its tag.
    pub tag: Option<u32>,
    /// What it holds when it is not carried, as written in the schema.
    pub default: Option<String>,
}

/// The type of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint16,
    Uint32,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Array(Box<Kind>),
    Struct(String),
}

impl Versions {
    /// Every version.
    pub const ALL: Self = Self { first: 0, last: i16::MAX };

    /// Whether `version` is one of them.
    pub fn contains(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }

    /// Those that both have; none where `first` is after `last`.
    pub fn and(self, other: Self) -> Self {
        Self { first: self.first.max(other.first), last: self.last.min(other.last) }
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.first > self.last
    }

    /// Reads `3+`, `3-7` or `3`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(first) = text.strip_suffix('+') {
            return Some(Self { first: first.parse().ok()?, last: i16::MAX });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(Self { first: first.parse().ok()?, last: last.parse().ok()? })
    }
}

impl Message {
    /// The struct of this name.
    pub fn structure(&self, name: &str) -> &Struct {
        self.structs.iter().find(|structure| structure.name == name).expect("the parser has resolved every name")
    }

    /// Whether `version` has compact lengths and tags.
    pub fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }
}

/// Reads a schema file. The error names the message in which it is.
pub fn parse(text: &str) -> Result<Vec<Message>, String> {
    let mut group = String::new();
    let mut messages = Vec::new();
    let mut block = String::new();
    for line in text.lines().chain([""]) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            block.push_str(line);
            block.push(' ');
        } else if let Some(name) = block.strip_prefix("group ") {
            group = name.trim().to_owned();
            block.clear();
        } else if !block.is_empty() {
            let message = message(&block, &group);
            messages
                .push(message.map_err(|error| format!("{}: {error}", block.split(':').next().unwrap_or_default()))?);
            block.clear();
        }
    }
    Ok(messages)
}

fn message(block: &str, group: &str) -> Result<Message, String> {
    let (head, body) = block.split_once(':').ok_or("no colon after the head")?;
    let mut words = head.split_whitespace().peekable();
    let key = words.peek().and_then(|word| word.parse().ok());
    if key.is_some() {
        words.next();
    }
    let name = words.next().ok_or("no name")?.to_owned();
    let versions = words.next().and_then(|word| Versions::parse(word.strip_prefix('v')?)).ok_or("no versions")?;
    let flexible_from = match (words.next(), words.next()) {
        (None, None) => i16::MAX,
        (Some("flex"), Some(word)) => Versions::parse(word).ok_or("no flexible version")?.first,
        _ => return Err("more in the head than key, name, versions and flex".to_owned()),
    };
    let mut parser = Parser { rest: body, structs: BTreeMap::new(), order: Vec::new(), versions };
    let fields = parser.fields("")?;
    if !parser.rest.trim().is_empty() {
        return Err(format!("what is this: {}", parser.rest));
    }
    let structs = parser.finish(&fields)?;
    Ok(Message { key, name, group: group.to_owned(), versions, flexible_from, fields, structs })
}

struct Parser<'a> {
    rest: &'a str,
    structs: BTreeMap<String, Vec<Field>>,
    order: Vec<String>,
    versions: Versions,
}

impl Parser<'_> {
    /// Fields up to a closing brace or the end.
    fn fields(&mut self, inside: &str) -> Result<Vec<Field>, String> {
        let mut fields = Vec::new();
        loop {
            while self.eat(';') {}
            if self.rest.trim_start().is_empty() || self.rest.trim_start().starts_with('}') {
                return Ok(fields);
            }
            let name = self.word()?;
            if name == "struct" && inside.is_empty() {
                let name = self.word()?;
                self.structure(&name)?;
            } else {
                fields.push(self.field(name)?);
            }
        }
    }

    fn field(&mut self, name: String) -> Result<Field, String> {
        let kind = self.kind(&name)?;
        let mut nullable = None;
        if self.eat('?') {
            nullable = Some(match self.rest.strip_prefix('v') {
                Some(rest) => {
                    self.rest = rest;
                    let end = rest.find('+').ok_or("a null that begins with a version has a +")? + 1;
                    self.rest = &rest[end..];
                    Versions::parse(&rest[..end]).ok_or("no version after ?v")?
                }
                None => Versions::ALL,
            });
        }
        let mut field = Field { name, kind, versions: self.versions, nullable, tag: None, default: None };
        if self.eat('(') {
            let (notes, rest) = self.rest.split_once(')').ok_or("no closing parenthesis")?;
            self.rest = rest;
            let mut notes = notes.split_whitespace();
            while let Some(note) = notes.next() {
                if note == "tag" {
                    field.tag = Some(notes.next().and_then(|tag| tag.parse().ok()).ok_or("no number after tag")?);
                } else if let Some(default) = note.strip_prefix('=') {
                    field.default = Some(default.to_owned());
                } else {
                    let versions = note.strip_prefix('v').and_then(Versions::parse);
                    field.versions = versions.ok_or_else(|| format!("what is the note {note}"))?.and(self.versions);
                }
            }
        }
        Ok(field)
    }

    fn kind(&mut self, field: &str) -> Result<Kind, String> {
        if self.eat('[') {
            let element = self.kind(&singular(field))?;
            return if self.eat(']') { Ok(Kind::Array(Box::new(element))) } else { Err("no ]".to_owned()) };
        }
        if self.rest.trim_start().starts_with('{') {
            self.structure(field)?;
            return Ok(Kind::Struct(field.to_owned()));
        }
        let word = self.word()?;
        Ok(match word.as_str() {
            "bool" => Kind::Bool,
            "i8" => Kind::Int8,
            "i16" => Kind::Int16,
            "i32" => Kind::Int32,
            "i64" => Kind::Int64,
            "u16" => Kind::Uint16,
            "u32" => Kind::Uint32,
            "f64" => Kind::Float64,
            "uuid" => Kind::Uuid,
            "str" => Kind::String,
            "bytes" => Kind::Bytes,
            "records" => Kind::Records,
            _ => {
                if self.rest.trim_start().starts_with('{') {
                    self.structure(&word)?;
                }
                Kind::Struct(word)
            }
        })
    }

    fn structure(&mut self, name: &str) -> Result<(), String> {
        if !self.eat('{') {
            return Err(format!("no {{ after struct {name}"));
        }
        let fields = self.fields(name)?;
        if !self.eat('}') {
            return Err(format!("no }} at the end of struct {name}"));
        }
        if self.structs.insert(name.to_owned(), fields).is_some() {
            return Err(format!("two structs are called {name}: name one in front of its brace"));
        }
        self.order.push(name.to_owned());
        Ok(())
    }

    /// Finds the versions of each struct from those of the fields that hold it.
    fn finish(self, fields: &[Field]) -> Result<Vec<Struct>, String> {
        let nothing = Versions { first: i16::MAX, last: -1 };
        let mut found = BTreeMap::new();
        reach(&self.structs, fields, self.versions, &mut found)?;
        let mut structs: Vec<Struct> = Vec::new();
        for name in self.order {
            let versions = found.remove(&name).unwrap_or(nothing);
            if versions.is_empty() {
                return Err(format!("nothing holds struct {name}"));
            }
            structs.push(Struct { fields: self.structs[&name].clone(), name, versions });
        }
        Ok(structs)
    }

    fn word(&mut self) -> Result<String, String> {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end == 0 {
            return Err(format!("a word is missing before: {rest}"));
        }
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        Ok(word.to_owned())
    }

    fn eat(&mut self, wanted: char) -> bool {
        match self.rest.trim_start().strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

fn reach(
    structs: &BTreeMap<String, Vec<Field>>,
    fields: &[Field],
    within: Versions,
    found: &mut BTreeMap<String, Versions>,
) -> Result<(), String> {
    for field in fields {
        let mut kind = &field.kind;
        while let Kind::Array(element) = kind {
            kind = element;
        }
        let Kind::Struct(name) = kind else { continue };
        let versions = field.versions.and(within);
        let inner = structs.get(name).ok_or_else(|| format!("there is no struct {name}"))?;
        let all = found.entry(name.clone()).or_insert(versions);
        *all = Versions { first: all.first.min(versions.first), last: all.last.max(versions.last) };
        reach(structs, inner, versions, found)?;
    }
    Ok(())
}

/// The name of one element of the array `name`.
fn singular(name: &str) -> String {
    if let Some(stem) = name.strip_suffix("ies") {
        return format!("{stem}y");
    }
    for plural in ["ches", "shes", "sses", "xes"] {
        if name.ends_with(plural) {
            return name[..name.len() - 2].to_owned();
        }
    }
    match name.strip_suffix('s') {
        Some(stem) if !stem.ends_with('s') && !stem.ends_with('u') => stem.to_owned(),
        _ => name.to_owned(),
    }
}
