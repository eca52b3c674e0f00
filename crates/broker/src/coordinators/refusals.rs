//! What was refused to groups for want of room: counted, and told of once a minute each. Clients only hear that the coordinator is
//! not available, or that something of theirs is too large, and nothing else says why.

use std::time::Duration;

use ottla_coordinator::group::Limit;
use tracing::warn;

use crate::seldom::Seldom;

/// All limits, with their names and what helps.
const LIMITS: [(Limit, &str, &str); 4] = [
    (Limit::Group, "group", "the members of a group take too much: let there be fewer of them, or let them say less"),
    (Limit::Members, "members", "the members of all groups take too much: stop consumers that are not needed"),
    (Limit::Metadata, "metadata", "there is no room for metadata of offsets: commit less of it, or delete groups"),
    (Limit::List, "list", "there are as many groups as a list can hold: delete those that are not needed"),
];

/// What was refused since the start.
#[derive(Default)]
pub struct Refusals {
    by_limit: [Seldom; LIMITS.len()],
}

impl Refusals {
    /// Counts what was refused to a group, and tells of it where that is due.
    pub fn add(&self, limit: Limit, group: &str, now: Duration) {
        let place = LIMITS.iter().position(|(known, _, _)| *known == limit).expect("all limits are listed");
        if let Some(count) = self.by_limit[place].add(now) {
            let (_, _, help) = LIMITS[place];
            warn!(group, refused_since_start = count, "refused a group what it asked for: {help}");
        }
    }

    /// How often each limit was met, by its name.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = LIMITS.iter().map(|(_, name, _)| *name);
        names.zip(self.by_limit.iter().map(|refused| refused.count()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_counted_by_itself() {
        let refusals = Refusals::default();
        for limit in [Limit::List, Limit::Members, Limit::List] {
            refusals.add(limit, "g", Duration::ZERO);
        }
        let counts: Vec<_> = refusals.counts().collect();
        assert_eq!(counts, [("group", 0), ("members", 1), ("metadata", 0), ("list", 2)]);
    }
}
