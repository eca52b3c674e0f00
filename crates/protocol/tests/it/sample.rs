//! Makes the bytes of random messages, straight from their schemas.
//!
//! They are as a good writer writes them: tags ascend, none holds its default, and truth is 1. So what a reader makes
//! of them must give the same bytes again.

use ottla_base::Random;

use ottla_protocol::schema::{Field, Kind, Message};

/// No array has more elements, and no string more characters.
const LONGEST: u64 = 4;
const CHARACTERS: [char; 6] = ['a', 'Z', '0', '.', 'ü', '🦦'];

/// The body of a random message.
pub fn sample(message: &Message, version: i16, random: &mut Random) -> Vec<u8> {
    let mut writer = Sampler { message, version, out: Vec::new() };
    writer.fields(&message.fields, Some(random));
    writer.out
}

struct Sampler<'m> {
    message: &'m Message,
    version: i16,
    out: Vec<u8>,
}

impl Sampler<'_> {
    /// The fields and tags of a struct: random, or, without randomness, those of a new one.
    fn fields(&mut self, fields: &[Field], mut random: Option<&mut Random>) {
        let carried = fields.iter().filter(|field| field.versions.contains(self.version));
        let (mut tagged, untagged): (Vec<&Field>, Vec<&Field>) = carried.partition(|field| field.tag.is_some());
        for field in untagged {
            self.field(field, random.as_deref_mut());
        }
        if !self.message.is_flexible(self.version) {
            return;
        }
        tagged.sort_by_key(|field| field.tag);
        let mut present = Vec::new();
        for field in tagged {
            let mut data = Self { message: self.message, version: self.version, out: Vec::new() };
            data.field(field, random.as_deref_mut());
            let mut default = Self { message: self.message, version: self.version, out: Vec::new() };
            default.field(field, None);
            if data.out != default.out {
                present.push((field.tag.expect("it has one"), data.out));
            }
        }
        self.uvarint(present.len());
        for (tag, data) in present {
            self.uvarint(tag as usize);
            self.uvarint(data.len());
            self.out.extend(data);
        }
    }

    fn field(&mut self, field: &Field, mut random: Option<&mut Random>) {
        let may_be_null = field.nullable.is_some_and(|versions| versions.contains(self.version));
        let flexible = self.message.is_flexible(self.version);
        let is_null = match &mut random {
            Some(random) => may_be_null && random.below(4) == 0,
            None => field.default.as_deref() == Some("null"),
        };
        if is_null {
            match &field.kind {
                Kind::Struct(_) if field.tag.is_some() => self.out.push(0),
                Kind::Struct(_) => self.out.push(0xff),
                _ if flexible => self.out.push(0),
                Kind::String => self.out.extend([0xff; 2]),
                _ => self.out.extend([0xff; 4]),
            }
            return;
        }
        if let (Kind::Struct(_), true) = (&field.kind, may_be_null) {
            self.out.push(1);
        }
        match random {
            Some(random) => self.random(&field.kind, random),
            None => self.default(field),
        }
    }

    fn random(&mut self, kind: &Kind, random: &mut Random) {
        let number = random.next_u64();
        match kind {
            Kind::Bool => self.out.push((number & 1) as u8),
            Kind::Int8 => self.out.push(number as u8),
            Kind::Int16 | Kind::Uint16 => self.out.extend((number as u16).to_be_bytes()),
            Kind::Int32 | Kind::Uint32 => self.out.extend((number as u32).to_be_bytes()),
            Kind::Int64 => self.out.extend(number.to_be_bytes()),
            Kind::Float64 => self.out.extend((f64::from(number as i32) / 8.0).to_be_bytes()),
            Kind::Uuid => self.out.extend((u128::from(number) << 64 | u128::from(random.next_u64())).to_be_bytes()),
            Kind::String => {
                let characters = 0..random.below(LONGEST + 1);
                let text: String = characters.map(|_| CHARACTERS[random.below(6) as usize]).collect();
                self.length(text.len(), 2);
                self.out.extend(text.bytes());
            }
            Kind::Bytes | Kind::Records => {
                let length = random.below(20) as usize;
                self.length(length, 4);
                self.out.extend((0..length).map(|_| random.next_u64() as u8));
            }
            Kind::Array(element) => {
                let count = random.below(LONGEST);
                self.length(count as usize, 4);
                for _ in 0..count {
                    self.random(element, random);
                }
            }
            Kind::Struct(name) => {
                let message = self.message;
                self.fields(&message.structure(name).fields, Some(random));
            }
        }
    }

    fn default(&mut self, field: &Field) {
        let number = match (field.default.as_deref(), &field.kind) {
            (None | Some("null"), _) => 0,
            (Some("true"), _) => 1,
            (Some("false"), _) => 0,
            (Some("max"), Kind::Int32) => i64::from(i32::MAX),
            (Some("min"), Kind::Int32) => i64::from(i32::MIN),
            (Some("max"), Kind::Int64) => i64::MAX,
            (Some(number), _) => number.parse().expect("the other defaults are numbers"),
        };
        let number = number.to_be_bytes();
        match &field.kind {
            Kind::Bool | Kind::Int8 => self.out.push(number[7]),
            Kind::Int16 | Kind::Uint16 => self.out.extend(&number[6..]),
            Kind::Int32 | Kind::Uint32 => self.out.extend(&number[4..]),
            Kind::Int64 | Kind::Float64 => self.out.extend(number),
            Kind::Uuid => self.out.extend([0; 16]),
            Kind::String => self.length(0, 2),
            Kind::Bytes | Kind::Records | Kind::Array(_) => self.length(0, 4),
            Kind::Struct(name) => {
                let message = self.message;
                self.fields(&message.structure(name).fields, None);
            }
        }
    }

    /// A length of `width` bytes, or a compact one.
    fn length(&mut self, length: usize, width: usize) {
        match self.message.is_flexible(self.version) {
            true => self.uvarint(length + 1),
            false => self.out.extend(&(length as u64).to_be_bytes()[8 - width..]),
        }
    }

    fn uvarint(&mut self, mut value: usize) {
        while value > 0x7f {
            self.out.push(0x80 | (value & 0x7f) as u8);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}
