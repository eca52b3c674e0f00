//! `cargo xtask codegen`: writes the messages and internal records of the protocol crate from its schema files.
//!
//! ```text
//! crates/protocol/schema/*.txt --schema--> messages --rust--> text --output--> crates/protocol/src/{messages,internal}
//!                                              \--against--- schemas in Kafka's jars
//! ```
//!
//! The output is committed, so that a build needs no generator and a reviewer sees what changed. Where the committed
//! output does not compile, take it back with git first: this program is built with the protocol crate.

mod against;
mod jar;
mod names;
mod output;
mod rust;

use std::path::PathBuf;

use ottla_protocol::schema;

use crate::{Fallible, files, kafka};

/// `cargo xtask codegen`
#[derive(clap::Args)]
pub struct Command {
    /// Write nothing, and fail where the committed code is not what the schemas say.
    #[arg(long)]
    check: bool,
    /// Write nothing, and compare the schemas with those of somebody else.
    #[arg(long, conflicts_with = "check")]
    against: Option<Against>,
    /// The folder of Kafka's jars; they are installed under target/ if it is not given.
    #[arg(long, requires = "against")]
    jars: Option<PathBuf>,
}

impl Command {
    /// Writes what the schemas say, or only says whether it is written already.
    pub const fn own(check: bool) -> Self {
        Self { check, against: None, jars: None }
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Against {
    /// Those in the packages that Kafka publishes.
    Kafka,
}

/// Runs it.
pub fn run(command: &Command) -> Fallible<()> {
    if let Some(Against::Kafka) = command.against {
        let jars = match &command.jars {
            Some(jars) => jars.clone(),
            None => kafka::install()?.node_jars(),
        };
        return Ok(against::compare(&files::root(), &jars)?);
    }
    let changed = output::write(&files::root(), &files::target_folder("codegen")?, command.check)?;
    for path in &changed {
        println!("{} {}", if command.check { "differs:" } else { "written:" }, path.display());
    }
    match command.check && !changed.is_empty() {
        true => Err("the committed code is not what the schemas say: run `cargo xtask codegen`".into()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::schema::{Kind, Versions, parse};
    use super::*;

    #[test]
    fn a_schema_is_read_with_its_notes() {
        let text = "# A comment.\n\
            7 ThingsRequest v2-5 flex 4+: # another\n  Name str?v3+(=null); Flag bool(tag 1 v4+ =true);\n  \
            Entries [{Key i16; Values [Pair]?(v3)}]; Last Pair\n  struct Pair {A i8; B i64(=-1)}\n\n\
            group some\n\nPlain v0:\n";
        let messages = parse(text).expect("it is well-formed");
        let [things, plain] = &messages[..] else { panic!("two messages: {messages:?}") };
        assert_eq!((things.key, things.flexible_from, things.group.as_str()), (Some(7), 4, ""));
        let [name, flag, entries, _] = &things.fields[..] else { panic!("four fields: {things:?}") };
        assert_eq!(name.nullable.map(|versions| versions.first), Some(3));
        assert_eq!(name.default.as_deref(), Some("null"));
        assert_eq!((flag.tag, flag.versions), (Some(1), Versions { first: 4, last: 5 }));
        assert_eq!(entries.kind, Kind::Array(Box::new(Kind::Struct("Entry".to_owned()))));
        let entry = things.structure("Entry");
        assert_eq!(entry.fields[1].versions, Versions { first: 3, last: 3 });
        assert_eq!(things.structure("Pair").versions, things.versions, "some field holds it in each of them");
        assert_eq!((plain.key, plain.flexible_from, plain.group.as_str()), (None, i16::MAX, "some"));
        assert!(plain.fields.is_empty());
    }

    #[test]
    fn a_schema_that_is_not_well_formed_names_its_message() {
        for (text, error) in [
            ("0 A v0: X i32(v1", "0 A v0: no closing parenthesis"),
            ("0 A v0: X Unknown", "0 A v0: there is no struct Unknown"),
            ("0 A v0: X [i32", "0 A v0: no ]"),
            ("0 A v0: X {Y i8", "0 A v0: no } at the end of struct X"),
            ("0 A v0: X [{Y i8}]; X {Z i8}", "0 A v0: two structs are called X: name one in front of its brace"),
            ("0 A v0: X i8 || struct Y {Z i8}", "0 A v0: a word is missing before: || struct Y {Z i8} "),
            ("0 A v0: struct Y {Z i8}", "0 A v0: nothing holds struct Y"),
            ("0 A: X i8", "0 A: no versions"),
        ] {
            assert_eq!(parse(text).map(|messages| messages.len()), Err(error.to_owned()));
        }
    }

    #[test]
    fn the_committed_code_is_what_the_schemas_say() {
        let scratch = tempfile::tempdir().expect("a folder");
        let changed = output::write(&files::root(), &scratch.path().join("codegen"), true).expect("it is generated");
        assert_eq!(changed, Vec::<PathBuf>::new());
    }
}
