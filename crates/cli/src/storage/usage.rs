//! What is wrong with the command line of this tool, in the words of the library that reads that of Kafka's (argparse4j): scripts
//! may look for them.
//!
//! ```text
//! usage: ottla storage info [-h] --config CONFIG
//! ottla storage: error: argument --config/-c is required
//! ```
//!
//! Differs from Kafka: the tool's name, lines that are not broken to the width of a screen, and `format` names what it takes here.

use std::cmp::Reverse;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::screen::Screen;

const TOOL: &str = "ottla storage";

/// What is to be done, and how it is asked for.
const USAGES: [(&str, &str); 5] = [
    ("info", "--config CONFIG"),
    (
        "format",
        "--config CONFIG --cluster-id CLUSTER_ID\n                     [--ignore-formatted] [--release-version RELEASE_VERSION]\n\
         \x20                    [--feature FEATURE] [--standalone |\n                     --no-initial-controllers]",
    ),
    ("version-mapping", "\n                     [--release-version RELEASE_VERSION]"),
    ("feature-dependencies", "--feature FEATURE"),
    ("random-uuid", ""),
];

/// Options by both names, those first that are missed first.
const OPTIONS: [(&str, &str); 7] = [
    ("cluster-id", "t"),
    ("config", "c"),
    ("feature", "f"),
    ("release-version", "r"),
    ("ignore-formatted", "g"),
    ("no-initial-controllers", "N"),
    ("standalone", "s"),
];

/// Says what is wrong; nothing where it is no error but a question for help.
pub fn refuse(arguments: &[OsString], error: &clap::Error) -> Option<Screen> {
    let what = complaint(error, arguments)?;
    let command = arguments.get(2).and_then(|word| word.to_str());
    let usage = USAGES.iter().find(|(name, _)| Some(*name) == command);
    let mut screen = Screen::default();
    screen.note(match usage {
        Some((name, rest)) if rest.starts_with('\n') => format!("usage: {TOOL} {name} [-h]{rest}"),
        Some((name, rest)) => format!("usage: {TOOL} {name} [-h] {rest}").trim_end().to_owned(),
        None => {
            let names = USAGES.map(|(name, _)| name).join(",");
            format!("usage: {TOOL} [-h]\n                     {{{names}}}\n                     ...")
        }
    });
    screen.note(format!("{TOOL}: error: {what}"));
    Some(screen)
}

fn complaint(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    };
    let first = |kind| text(kind).into_iter().next();
    Some(match error.kind() {
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "too few arguments".to_owned()
        }
        ErrorKind::InvalidSubcommand => {
            let names = USAGES.map(|(name, _)| format!("'{name}'")).join(", ");
            format!("invalid choice: '{}' (choose from {names})", first(ContextKind::InvalidSubcommand)?)
        }
        ErrorKind::UnknownArgument => format!("unrecognized arguments: '{}'", first(ContextKind::InvalidArg)?),
        ErrorKind::MissingRequiredArgument => {
            let missing = text(ContextKind::InvalidArg);
            let missing: Vec<String> = missing.iter().map(|shown| both_names(shown)).collect();
            let known = OPTIONS.iter().map(|(long, short)| format!("--{long}/-{short}"));
            format!("argument {} is required", known.into_iter().find(|name| missing.contains(name))?)
        }
        ErrorKind::InvalidValue => {
            format!("argument {}: expected one argument", both_names(&first(ContextKind::InvalidArg)?))
        }
        ErrorKind::ArgumentConflict => {
            let mut both =
                [first(ContextKind::InvalidArg)?, first(ContextKind::PriorArg)?].map(|shown| both_names(&shown));
            // The one that comes later is not allowed.
            both.sort_by_key(|names| Reverse(arguments.iter().rposition(|word| is_one_of(word, names))));
            format!("argument {}: not allowed with argument {}", both[0], both[1])
        }
        _ => return None,
    })
}

/// Whether a word is one of the names of `--config/-c`.
fn is_one_of(word: &OsString, names: &str) -> bool {
    word.to_str().is_some_and(|word| names.split('/').any(|name| name == word))
}

/// `--config <FILE>` is `--config/-c`.
fn both_names(shown: &str) -> String {
    let name = shown.trim_start_matches('-').split([' ', '=']).next().unwrap_or_default();
    match OPTIONS.iter().find(|(long, _)| *long == name) {
        Some((long, short)) => format!("--{long}/-{short}"),
        None => shown.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command};
    use expect_test::{Expect, expect};

    use super::*;

    fn check(line: &str, expected: &Expect) {
        let arguments: Vec<OsString> =
            ["ottla", "storage"].into_iter().chain(line.split_whitespace()).map(Into::into).collect();
        let command = super::super::Arguments::augment_args(Command::new("storage"));
        let error = command.try_get_matches_from(&arguments[1..]).expect_err("it is refused");
        let shown = refuse(&arguments, &error).expect("it is told of").notes;
        let [first, .., last] = shown.lines().collect::<Vec<_>>()[..] else { panic!("{shown}") };
        expected.assert_eq(&format!("{first}\n{last}"));
    }

    #[test]
    fn what_is_wrong_is_said_in_kafkas_words() {
        check(
            "",
            &expect![[r#"
            usage: ottla storage [-h]
            ottla storage: error: too few arguments"#]],
        );
        check(
            "nosuch",
            &expect![[r#"
            usage: ottla storage [-h]
            ottla storage: error: invalid choice: 'nosuch' (choose from 'info', 'format', 'version-mapping', 'feature-dependencies', 'random-uuid')"#]],
        );
        check(
            "info",
            &expect![[r#"
            usage: ottla storage info [-h] --config CONFIG
            ottla storage: error: argument --config/-c is required"#]],
        );
        check(
            "info --config",
            &expect![[r#"
            usage: ottla storage info [-h] --config CONFIG
            ottla storage: error: argument --config/-c: expected one argument"#]],
        );
        check(
            "info -c a --nosuch",
            &expect![[r#"
            usage: ottla storage info [-h] --config CONFIG
            ottla storage: error: unrecognized arguments: '--nosuch'"#]],
        );
        check(
            "format",
            &expect![[r#"
            usage: ottla storage format [-h] --config CONFIG --cluster-id CLUSTER_ID
            ottla storage: error: argument --cluster-id/-t is required"#]],
        );
        check(
            "format --cluster-id x",
            &expect![[r#"
            usage: ottla storage format [-h] --config CONFIG --cluster-id CLUSTER_ID
            ottla storage: error: argument --config/-c is required"#]],
        );
        check(
            "format -c a -t x -f",
            &expect![[r#"
            usage: ottla storage format [-h] --config CONFIG --cluster-id CLUSTER_ID
            ottla storage: error: argument --feature/-f: expected one argument"#]],
        );
        check(
            "format -c a -t x -s -N",
            &expect![[r#"
            usage: ottla storage format [-h] --config CONFIG --cluster-id CLUSTER_ID
            ottla storage: error: argument --no-initial-controllers/-N: not allowed with argument --standalone/-s"#]],
        );
        check(
            "format -c a -t x -N -s",
            &expect![[r#"
            usage: ottla storage format [-h] --config CONFIG --cluster-id CLUSTER_ID
            ottla storage: error: argument --standalone/-s: not allowed with argument --no-initial-controllers/-N"#]],
        );
        check(
            "version-mapping extra",
            &expect![[r#"
            usage: ottla storage version-mapping [-h]
            ottla storage: error: unrecognized arguments: 'extra'"#]],
        );
        check(
            "feature-dependencies",
            &expect![[r#"
            usage: ottla storage feature-dependencies [-h] --feature FEATURE
            ottla storage: error: argument --feature/-f is required"#]],
        );
        check(
            "random-uuid extra",
            &expect![[r#"
            usage: ottla storage random-uuid [-h]
            ottla storage: error: unrecognized arguments: 'extra'"#]],
        );
    }

    #[test]
    fn an_option_may_be_cut_short_and_given_twice() {
        let command = super::super::Arguments::augment_args(Command::new("storage"));
        let read = command
            .try_get_matches_from("storage format --conf a --config b --cluster x -g -g -f a=1 -f b=2".split(' '));
        let matches = read.expect("it is read");
        let (_, format) = matches.subcommand().expect("there is one");
        assert_eq!(format.get_many::<String>("feature").unwrap().count(), 2);
        assert_eq!(format.get_one::<std::path::PathBuf>("config").unwrap().to_str(), Some("b"));
    }
}
