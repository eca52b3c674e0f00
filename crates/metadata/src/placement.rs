//! Which brokers get the replicas of new partitions.
//!
//! Replicas are dealt like cards: round the racks, and inside a rack round its brokers. Each partition begins one rack and
//! one broker further on than the one before, so that leaders and followers spread; after each full round a rack's
//! order is shuffled anew, so that the same brokers do not always follow each other.
//!
//! ```text
//!              rack a        rack b        rack c           3 replicas each
//!              1 2           3 4           5 6
//! partition 0  1             3             5                1 leads: the dealing begins at rack a
//! partition 1  2             4             6                4 leads: it begins at rack b
//! partition 2  (a, b and c shuffled)                        rack c's broker leads
//! ```
//!
//! Fenced brokers are dealt to only when the rack has no other left, and never lead. Brokers without a rack make up a
//! rack of their own. The randomness is the caller's, from a seed.

use std::collections::BTreeMap;

use ottla_base::{BrokerId, Random};

/// A broker that may be given replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsableBroker {
    /// Its id.
    pub id: BrokerId,
    /// Its `broker.rack`, if it has one.
    pub rack: Option<String>,
    /// Whether it is fenced: it may hold replicas, but cannot lead now.
    pub fenced: bool,
}

/// Replica lists for `partitions` new partitions, each of `replication_factor` brokers with the preferred leader first.
/// The error is Kafka's text for INVALID_REPLICATION_FACTOR.
pub fn place(
    brokers: &[UsableBroker],
    partitions: usize,
    replication_factor: usize,
    random: &mut Random,
) -> Result<Vec<Vec<BrokerId>>, String> {
    if replication_factor == 0 {
        return Err("Invalid replication factor 0: the replication factor must be positive.".to_owned());
    }
    if brokers.iter().all(|broker| broker.fenced) {
        return Err("All brokers are currently fenced, or have all their log directories cordoned.".to_owned());
    }
    if replication_factor > brokers.len() {
        return Err(format!(
            "The target replication factor of {replication_factor} cannot be reached because only {} broker(s) are \
             registered or some brokers have all their log directories cordoned.",
            brokers.len()
        ));
    }
    let mut racks = Racks::new(brokers, random);
    Ok((0..partitions).map(|_| racks.deal(replication_factor, random)).collect())
}

struct Racks {
    racks: Vec<Rack>,
    first: usize,
}

struct Rack {
    active: Ring,
    fenced: Ring,
}

/// Brokers that are dealt in turn, from a start that moves.
struct Ring {
    brokers: Vec<BrokerId>,
    start: usize,
    dealt: usize,
    rounds: usize,
}

impl Racks {
    fn new(brokers: &[UsableBroker], random: &mut Random) -> Self {
        let mut by_rack: BTreeMap<Option<&str>, [Vec<BrokerId>; 2]> = BTreeMap::new();
        for broker in brokers {
            by_rack.entry(broker.rack.as_deref()).or_default()[usize::from(broker.fenced)].push(broker.id);
        }
        let racks: Vec<Rack> = by_rack
            .into_values()
            .map(|[active, fenced]| Rack { active: Ring::new(active, random), fenced: Ring::new(fenced, random) })
            .collect();
        let first = random.below(racks.len() as u64) as usize;
        Self { racks, first }
    }

    fn deal(&mut self, replication_factor: usize, random: &mut Random) -> Vec<BrokerId> {
        let count = self.racks.len();
        let leading = (self.first..self.first + count)
            .find(|at| !self.racks[at % count].active.brokers.is_empty())
            .expect("some broker is not fenced");
        let mut replicas = Vec::with_capacity(replication_factor);
        for at in leading.. {
            let rack = &mut self.racks[at % count];
            replicas.extend(rack.active.deal().or_else(|| rack.fenced.deal()));
            if replicas.len() == replication_factor {
                break;
            }
        }
        self.first = (self.first + 1) % count;
        for rack in &mut self.racks {
            rack.active.collect_cards(random);
            rack.fenced.collect_cards(random);
        }
        replicas
    }
}

impl Ring {
    fn new(mut brokers: Vec<BrokerId>, random: &mut Random) -> Self {
        brokers.sort_unstable();
        let start = if brokers.is_empty() { 0 } else { random.below(brokers.len() as u64) as usize };
        Self { brokers, start, dealt: 0, rounds: 0 }
    }

    /// The next broker that this partition does not have yet.
    fn deal(&mut self) -> Option<BrokerId> {
        if self.dealt == self.brokers.len() {
            return None;
        }
        self.dealt += 1;
        Some(self.brokers[(self.start + self.dealt - 1) % self.brokers.len()])
    }

    /// Before the next partition: begins one broker further on, if this partition took any.
    fn collect_cards(&mut self, random: &mut Random) {
        if self.dealt == 0 {
            return;
        }
        self.dealt = 0;
        self.start = (self.start + 1) % self.brokers.len();
        self.rounds += 1;
        if self.rounds == self.brokers.len() {
            self.rounds = 0;
            for last in (1..self.brokers.len()).rev() {
                self.brokers.swap(last, random.below(last as u64 + 1) as usize);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn broker(id: i32, rack: Option<&str>, fenced: bool) -> UsableBroker {
        UsableBroker { id: BrokerId(id), rack: rack.map(str::to_owned), fenced }
    }

    #[test]
    fn it_refuses_in_kafkas_words() {
        let mut random = Random::new(1);
        let one = [broker(1, None, false)];
        let refused = place(&one, 1, 3, &mut random).expect_err("three of one");
        assert_eq!(
            refused,
            "The target replication factor of 3 cannot be reached because only 1 broker(s) are registered or some \
             brokers have all their log directories cordoned."
        );
        assert!(place(&[broker(1, None, true)], 1, 1, &mut random).expect_err("fenced").starts_with("All brokers"));
        assert!(place(&[], 1, 1, &mut random).is_err());
        assert!(place(&one, 1, 0, &mut random).is_err());
    }

    #[test]
    fn each_broker_leads_as_often_as_the_others() {
        let brokers: Vec<_> = (0..6).map(|id| broker(id, Some(["a", "b", "c"][id as usize / 2]), false)).collect();
        let placed = place(&brokers, 600, 3, &mut Random::new(5)).expect("enough brokers");
        for id in 0..6 {
            let leads = placed.iter().filter(|replicas| replicas[0] == BrokerId(id)).count();
            let holds = placed.iter().filter(|replicas| replicas.contains(&BrokerId(id))).count();
            assert!((75..=125).contains(&leads), "broker {id} leads {leads} of 600");
            assert_eq!(holds, 300, "broker {id}");
        }
    }

    #[test]
    fn a_rack_of_one_broker_is_not_dealt_to_more_often_than_it_can_hold() {
        let brokers = [broker(1, Some("a"), false), broker(2, Some("b"), false), broker(3, Some("b"), true)];
        for replicas in place(&brokers, 20, 3, &mut Random::new(2)).expect("three of three") {
            assert_ne!(replicas[0], BrokerId(3), "a fenced broker does not lead");
        }
    }

    proptest! {
        #[test]
        fn replicas_are_distinct_spread_over_racks_and_led_by_an_active_broker(
            brokers in prop::collection::btree_map(0i32..50, (prop::option::of("[abc]"), any::<bool>()), 1..12),
            partitions in 1usize..40,
            replication_factor in 1usize..8,
            seed: u64,
        ) {
            let brokers: Vec<_> = brokers.into_iter().map(|(id, (rack, fenced))| UsableBroker { id: BrokerId(id), rack, fenced }).collect();
            let placed = place(&brokers, partitions, replication_factor, &mut Random::new(seed));
            let possible = replication_factor <= brokers.len() && brokers.iter().any(|broker| !broker.fenced);
            prop_assert_eq!(placed.is_ok(), possible);
            let find = |id: &BrokerId| brokers.iter().find(|broker| broker.id == *id).expect("one that was offered");
            let racks: BTreeSet<_> = brokers.iter().map(|broker| &broker.rack).collect();
            for replicas in placed.iter().flatten() {
                prop_assert_eq!(replicas.len(), replication_factor);
                prop_assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), replication_factor);
                prop_assert!(!find(&replicas[0]).fenced);
                let used: BTreeSet<_> = replicas.iter().map(|id| &find(id).rack).collect();
                prop_assert_eq!(used.len(), racks.len().min(replication_factor));
            }
            prop_assert_eq!(placed, place(&brokers, partitions, replication_factor, &mut Random::new(seed)));
        }
    }
}
