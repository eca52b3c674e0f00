//! What was promised and what was kept, over all members.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// More broken promises than this are not told one by one.
const TOLD_MAX: usize = 20;

/// Who writes into it holds its lock for a moment.
pub struct Ledger {
    partitions: Vec<Mutex<Account>>,
    generations: Mutex<BTreeMap<i32, Generation>>,
    wrong: Mutex<Vec<String>>,
}

/// One partition.
#[derive(Clone, Copy, Default)]
struct Account {
    /// Written so far.
    end: i64,
    /// Delivered to somebody, without a gap.
    delivered: i64,
    /// Committed, and the commit was answered.
    committed: i64,
}

/// A generation in the making.
#[derive(Clone, Copy)]
struct Generation {
    first_join: Instant,
    last_sync: Instant,
}

impl Ledger {
    pub fn new(partitions: usize) -> Self {
        let partitions = (0..partitions).map(|_| Mutex::default()).collect();
        Self { partitions, generations: Mutex::default(), wrong: Mutex::default() }
    }

    pub fn written(&self, partition: i32, end: i64) {
        self.account(partition, |account| account.end = end);
    }

    /// A member was given the partition, and found this offset committed.
    pub fn assigned(&self, partition: i32, found: i64) {
        let committed = self.account(partition, |account| account.committed);
        if found < committed {
            self.wrong(format!("partition {partition}: {committed} was committed, {found} was found"));
        }
    }

    /// The records from `from` up to `end` were delivered.
    pub fn delivered(&self, partition: i32, from: i64, end: i64) {
        let (committed, before) = self.account(partition, |account| {
            let before = account.delivered;
            account.delivered = before.max(end);
            (account.committed, before)
        });
        if from < committed {
            self.wrong(format!("partition {partition}: {from} was delivered again after {committed} was committed"));
        }
        if from > before {
            self.wrong(format!("partition {partition}: {before} to {from} were left out"));
        }
    }

    pub fn committed(&self, partition: i32, offset: i64) {
        self.account(partition, |account| account.committed = account.committed.max(offset));
    }

    /// A member is in the generation, after it had asked to join at `joined`.
    pub fn synced(&self, generation: i32, joined: Instant) {
        let now = Instant::now();
        let mut generations = self.generations.lock().expect("nobody panics while holding this lock");
        let known = generations.entry(generation).or_insert(Generation { first_join: joined, last_sync: now });
        known.first_join = known.first_join.min(joined);
        known.last_sync = now;
    }

    pub fn wrong(&self, what: String) {
        let mut wrong = self.wrong.lock().expect("nobody panics while holding this lock");
        if wrong.len() < TOLD_MAX {
            wrong.push(what);
        }
    }

    /// Whether all that was written was delivered and committed.
    pub fn is_settled(&self) -> bool {
        (0..self.partitions.len()).all(|partition| {
            self.account(partition as i32, |account| {
                account.committed == account.end && account.delivered == account.end
            })
        })
    }

    /// What is not settled, in words.
    pub fn unsettled(&self) -> String {
        let accounts =
            (0..self.partitions.len()).map(|partition| (partition, self.account(partition as i32, |it| *it)));
        let open = accounts.filter(|(_, it)| it.committed != it.end || it.delivered != it.end);
        let told: Vec<String> = open
            .map(|(partition, it)| {
                format!("{partition}: end {} delivered {} committed {}", it.end, it.delivered, it.committed)
            })
            .collect();
        format!("{} partitions, among them {}", told.len(), told.iter().take(3).cloned().collect::<Vec<_>>().join("; "))
    }

    /// All records that were written.
    pub fn records(&self) -> i64 {
        (0..self.partitions.len()).map(|partition| self.account(partition as i32, |account| account.end)).sum()
    }

    /// From the first JoinGroup of each generation to the last answer to a SyncGroup.
    pub fn rebalances(&self) -> Vec<Duration> {
        let generations = self.generations.lock().expect("nobody panics while holding this lock");
        let mut took: Vec<Duration> =
            generations.values().map(|generation| generation.last_sync - generation.first_join).collect();
        took.sort();
        took
    }

    pub fn into_wrong(self) -> Vec<String> {
        self.wrong.into_inner().expect("nobody panics while holding this lock")
    }

    fn account<T>(&self, partition: i32, work: impl FnOnce(&mut Account) -> T) -> T {
        work(&mut self.partitions[partition as usize].lock().expect("nobody panics while holding this lock"))
    }
}
