//! What coordinators keep in topics of their own, read as its schema says.
//!
//! ```text
//!   key     type i16, fields
//!   value   version i16, fields; none at all is a tombstone
//! ```
//!
//! Not here: the records of the metadata log, which are framed in another way (`dump_log::decoders`), and how any of this is laid
//! out on the screen.

pub mod json;

use ottla_protocol::schema::{self, Message};
use ottla_protocol::{DecodeError, Reader};

use json::{Version, as_base64};

/// The type of the records whose members carry bytes of the consumer protocol.
const GROUP_METADATA: &str = "GroupMetadataValue";
/// The protocol of consumers in a group's metadata.
const CONSUMER: &str = "consumer";
/// The schema of what these bytes are.
const CONSUMER_PROTOCOL: &str = "consumer_protocol";

/// Reads the records of a coordinator.
#[derive(Clone, Debug)]
pub struct CoordinatorRecords {
    messages: Vec<Message>,
    opens_consumer_protocol: bool,
}

/// A record of a coordinator, its parts as JSON.
#[derive(Debug, PartialEq, Eq)]
pub struct CoordinatorRecord {
    /// The number of its type.
    pub kind: i16,
    /// The name of its type, without Key or Value.
    pub name: String,
    /// The fields of the key.
    pub key: String,
    /// The version and the fields of the value; none of a tombstone.
    pub value: Option<(i16, String)>,
}

/// Why a record cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// There is no such type.
    UnknownType(i16),
    /// In Kafka's words.
    Because(String),
}

/// The messages of these groups of the schema of internal records.
pub fn messages(groups: &[&str]) -> Vec<Message> {
    let mut all =
        schema::parse(schema::INTERNAL).expect("the schemas are well-formed, as the code made from them shows");
    all.retain(|message| groups.contains(&message.group.as_str()));
    all
}

impl CoordinatorRecords {
    /// Those of this group in the schema; bytes in them are base64.
    pub fn new(group: &str) -> Self {
        Self { messages: messages(&[group]), opens_consumer_protocol: false }
    }

    /// The same, but with what consumers said to each other opened.
    pub fn with_consumer_protocol(group: &str) -> Self {
        Self { messages: messages(&[group, CONSUMER_PROTOCOL]), opens_consumer_protocol: true }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// It is none of these, or its bytes are not what they should be.
    pub fn read(&self, key: &[u8], value: Option<&[u8]>) -> Result<CoordinatorRecord, Unreadable> {
        let mut reader = Reader::new(key);
        let because = |what: &str| Unreadable::Because(what.to_owned());
        let kind = reader.int16().map_err(|_| because("Could not read version from key's buffer."))?;
        let of_type = |suffix: &str| {
            self.messages.iter().find(|message| message.key == Some(kind) && message.name.ends_with(suffix))
        };
        let (Some(of_key), Some(of_value)) = (of_type("Key"), of_type("Value")) else {
            return Err(Unreadable::UnknownType(kind));
        };
        let key = Version { message: of_key, version: 0, bytes_as: &as_base64 }.read(&mut reader);
        let key = key.map_err(|reason| unreadable(kind, "key", reason))?;
        let value = value.map(|value| self.read_value(of_value, kind, value)).transpose()?;
        let name = of_key.name.strip_suffix("Key").expect("it was found by its end").to_owned();
        Ok(CoordinatorRecord { kind, name, key, value })
    }

    fn read_value(&self, message: &Message, kind: i16, bytes: &[u8]) -> Result<(i16, String), Unreadable> {
        let mut reader = Reader::new(bytes);
        let version = reader
            .int16()
            .map_err(|_| Unreadable::Because("Could not read version from value's buffer.".to_owned()))?;
        if !message.versions.contains(version) {
            return Err(Unreadable::Because(format!("Found an unknown record version {version} for {kind} type")));
        }
        let is_opened = self.opens_consumer_protocol && message.name == GROUP_METADATA && {
            let first = reader.clone().string(message.is_flexible(version));
            first.is_ok_and(|protocol_type| protocol_type == CONSUMER)
        };
        let bytes_as = |field: &str, bytes: &[u8]| match field {
            _ if !is_opened => None,
            "subscription" => self.consumer_protocol("ConsumerProtocolSubscription", bytes),
            "assignment" => self.consumer_protocol("ConsumerProtocolAssignment", bytes),
            _ => None,
        };
        let fields = Version { message, version, bytes_as: &bytes_as }.read(&mut reader);
        Ok((version, fields.map_err(|reason| unreadable(version, "value", reason))?))
    }

    /// What a member of a group of consumers sent; `None` where it is something else.
    fn consumer_protocol(&self, name: &str, bytes: &[u8]) -> Option<String> {
        let message = self.messages.iter().find(|message| message.name == name)?;
        let mut reader = Reader::new(bytes);
        let version = reader.int16().ok().filter(|version| message.versions.contains(*version))?;
        Version { message, version, bytes_as: &as_base64 }.read(&mut reader).ok()
    }
}

fn unreadable(version: i16, part: &str, reason: DecodeError) -> Unreadable {
    Unreadable::Because(format!("Could not read record with version {version} from {part}'s buffer due to: {reason}."))
}
