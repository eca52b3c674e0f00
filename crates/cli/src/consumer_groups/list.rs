//! Lists groups: their ids, or a table of them.

use super::{Arguments, Failure, re2};
use crate::client::Cluster;
use crate::client::groups::{self, Listed};
use crate::java_order::{DEFAULT_CAPACITY, hash_code, sort_as_in_java};
use crate::screen::Screen;

/// The states of groups of consumers, and their types.
const STATES: [&str; 7] =
    ["Dead", "PreparingRebalance", "Reconciling", "CompletingRebalance", "Empty", "Assigning", "Stable"];
const TYPES: [&str; 2] = ["Consumer", "Classic"];
/// The first column is at least so wide.
const GROUP_WIDTH: usize = 15;

/// `--list`
pub fn list(cluster: &mut Cluster, arguments: &Arguments, screen: &mut Screen) -> Result<(), Failure> {
    if arguments.state.is_none() && arguments.group_type.is_none() {
        ids(cluster)?.iter().for_each(|id| screen.say(id));
        return Ok(());
    }
    let types = chosen(arguments.group_type.as_deref(), &TYPES, "types")?;
    let states = chosen(arguments.state.as_deref(), &STATES, "state")?;
    let mut listed = groups::list(cluster, &states, &types).map_err(|error| Failure::awaited(&error))?;
    sort_as_in_java(&mut listed, DEFAULT_CAPACITY, |group| hash_code(&group.id));
    show(&listed, arguments.group_type.is_some(), arguments.state.is_some(), screen);
    Ok(())
}

/// The ids of all groups, in the order of Kafka's tool.
pub fn ids(cluster: &mut Cluster) -> Result<Vec<String>, Failure> {
    let types = ["Classic", "Consumer"].map(str::to_owned);
    let listed = groups::list(cluster, &[], &types).map_err(|error| Failure::wrapped(&error))?;
    let mut ids: Vec<String> = listed.into_iter().map(|group| group.id).collect();
    sort_as_in_java(&mut ids, DEFAULT_CAPACITY, |id| hash_code(id));
    Ok(ids)
}

/// Shows groups as a table.
pub fn show(listed: &[Listed], with_type: bool, with_state: bool, screen: &mut Screen) {
    let width = listed.iter().map(|group| group.id.chars().count()).max().unwrap_or(0).max(GROUP_WIDTH) + 10;
    let mut row = |id: &str, group_type: &str, state: &str| {
        let mut line = format!("{id:<width$}");
        if with_type {
            line += &format!(" {group_type:<20}");
        }
        if with_state {
            line += &format!(" {state:<20}");
        }
        screen.say(line);
    };
    row("GROUP", "TYPE", "STATE");
    // Brokers write types in small letters.
    let named = |text: &str, known: &[&'static str]| {
        known.iter().find(|name| name.eq_ignore_ascii_case(text)).copied().unwrap_or("Unknown")
    };
    for group in listed {
        row(&group.id, named(&group.group_type, &TYPES), named(&group.state, &STATES));
    }
}

/// Reads a list of states or types, in any case, as the brokers write them.
fn chosen(text: Option<&str>, known: &[&str], what: &str) -> Result<Vec<String>, Failure> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
    let find = |part: &str| known.iter().find(|name| name.eq_ignore_ascii_case(part.trim()));
    let found: Option<Vec<_>> = text.split(',').map(|part| find(part).map(|name| (*name).to_owned())).collect();
    found.ok_or_else(|| {
        let plural = if what.ends_with('s') { what.to_owned() } else { format!("{what}s") };
        Failure::Usage(format!("Invalid {what} list '{text}'. Valid {plural} are: {}", known.join(", ")))
    })
}

/// `--validate-regex`
pub fn validate_regex(regex: &str, screen: &mut Screen) {
    screen.say(match re2::check(regex) {
        Ok(()) => format!("The regular expression `{regex}` is valid."),
        Err(error) => format!("The regular expression `{regex}` is invalid: {error}."),
    });
}
