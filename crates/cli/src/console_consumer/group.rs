//! Reading as a member of a group: which topics to subscribe to, what to do when the group rebalances, and when to commit.
//!
//! ```text
//! look for topics -> (standing: rejoin) -> commit, give up all partitions -> join -> fetch from what is committed
//!                 -> (standing: lost)   ->         give up all partitions -> join -> ..
//!                 -> (stable)           -> commit every now and then
//! ```
//!
//! A cooperative member (KIP-429) keeps its partitions while it joins. Those that it does not get again it gives up then, and
//! joins once more, so that others get them.

use std::time::{Duration, Instant};

use ottla_base::TopicPartition;
use ottla_protocol::ErrorCode;

use super::arguments::{Group, Settings, Wanted};
use super::unknown;
use crate::client::{Error, Fetcher, Member, Position, Standing, TopicDescription, Topics};

/// How soon to look again for a topic that is not there yet.
const MISSING_TOPIC_INTERVAL: Duration = Duration::from_secs(1);
/// How long the last commit is tried for.
const LAST_COMMIT_WITHIN: Duration = Duration::from_secs(5);

/// A console consumer in a group.
pub struct Membership {
    member: Member,
    auto_commit: Option<Duration>,
    subscribed: Vec<String>,
    /// What it reads, and goes on reading while it joins.
    kept: Vec<TopicPartition>,
    is_joined: bool,
    look_at: Instant,
    commit_at: Instant,
}

impl Membership {
    /// One that has not joined yet.
    pub fn new(member: Member, group: &Group) -> Self {
        let now = Instant::now();
        Self {
            member,
            auto_commit: group.auto_commit,
            subscribed: Vec::new(),
            kept: Vec::new(),
            is_joined: false,
            look_at: now,
            commit_at: now,
        }
    }

    /// Brings what is read in line with what the group gives this member. Joining takes as long as all others need for it,
    /// or until `is_wanted` says no.
    pub fn keep_up(
        &mut self,
        fetcher: &mut Fetcher,
        settings: &Settings,
        mut is_wanted: impl FnMut() -> bool,
    ) -> Result<(), Error> {
        if Instant::now() >= self.look_at {
            self.look_for_topics(fetcher, settings)?;
        }
        let standing = if self.is_joined { self.member.standing()? } else { Standing::Rejoin };
        match standing {
            Standing::Stable => {
                if self.auto_commit.is_some() && Instant::now() >= self.commit_at {
                    self.commit(fetcher);
                }
                return Ok(());
            }
            Standing::Rejoin if self.auto_commit.is_some() => self.commit(fetcher),
            Standing::Rejoin | Standing::Lost => {}
        }
        if standing == Standing::Lost || !self.member.is_cooperative() {
            self.give_up_all(fetcher);
        }
        self.is_joined = false;
        while let Some(joined) = self.member.join(&self.subscribed, &self.kept, &mut is_wanted)? {
            if joined.is_new {
                self.give_up_all(fetcher);
            }
            let (stay, gone): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.kept).into_iter().partition(|partition| joined.partitions.contains(partition));
            fetcher.revoke(&gone);
            let added: Vec<_> =
                joined.partitions.iter().filter(|partition| !stay.contains(partition)).cloned().collect();
            self.kept = stay;
            if let Err(error) = self.begin(fetcher, settings, &added) {
                fetcher.revoke(&added);
                return Err(error);
            }
            self.kept.extend(added);
            self.schedule_commit();
            if gone.is_empty() {
                self.is_joined = true;
                break;
            }
        }
        Ok(())
    }

    fn give_up_all(&mut self, fetcher: &mut Fetcher) {
        fetcher.revoke_all();
        self.kept.clear();
    }

    /// Commits what has been shown, and leaves. What fails now is no failure of the reading.
    pub fn close(&mut self, fetcher: &Fetcher) {
        let offsets = fetcher.shown();
        let deadline = Instant::now() + LAST_COMMIT_WITHIN;
        while self.auto_commit.is_some() {
            match self.member.commit(&offsets) {
                Err(error @ Error::TimedOut { .. }) => {
                    // Who did not answer this will not answer anything else.
                    eprintln!("WARN The last offsets were not committed, and the group was not left: {error}");
                    return;
                }
                Err(error) if error.is_retriable() && Instant::now() < deadline => {
                    std::thread::sleep(super::FIRST_BACK_OFF);
                }
                Err(error) => {
                    eprintln!("WARN The last offsets were not committed: {error}");
                    break;
                }
                Ok(()) => break,
            }
        }
        if let Err(error) = self.member.leave() {
            eprintln!("WARN The group was not left, and will notice when the session times out: {error}");
        }
    }

    /// Subscribes to the topics that are meant and there, at the start and every now and then.
    fn look_for_topics(&mut self, fetcher: &mut Fetcher, settings: &Settings) -> Result<(), Error> {
        let mut is_missing = false;
        let topics = match &settings.wanted {
            Wanted::Topic { name, .. } => {
                let found = fetcher.topics(Topics::Named { names: &[name], create: true })?;
                let error = found.first().map_or(ErrorCode::UnknownTopicOrPartition, |topic| topic.error);
                if matches!(error, ErrorCode::InvalidTopicException | ErrorCode::TopicAuthorizationFailed) {
                    return Err(unknown(name, error));
                }
                is_missing = found.iter().all(|topic| topic.partitions.is_empty());
                vec![name.clone()]
            }
            Wanted::Matching(filter) => {
                let found = fetcher.topics(Topics::All)?.into_iter();
                found.filter(|topic| !topic.is_internal && filter.allows(&topic.name)).map(|topic| topic.name).collect()
            }
        };
        if topics != self.subscribed || self.member.has_changed_topics()? {
            self.subscribed = topics;
            self.rejoin(fetcher);
        }
        let interval = if is_missing { MISSING_TOPIC_INTERVAL } else { settings.metadata_max_age };
        self.look_at = Instant::now() + interval;
        Ok(())
    }

    /// Joins again before the next record, with what it has shown committed.
    fn rejoin(&mut self, fetcher: &mut Fetcher) {
        if self.is_joined && self.auto_commit.is_some() {
            self.commit(fetcher);
        }
        if self.member.is_cooperative() {
            let subscribed = &self.subscribed;
            let unwanted = self.kept.extract_if(.., |partition| !subscribed.contains(&partition.topic));
            fetcher.revoke(&unwanted.collect::<Vec<_>>());
        } else {
            self.give_up_all(fetcher);
        }
        self.is_joined = false;
    }

    /// Reads the partitions that were given, from what is committed.
    fn begin(
        &mut self,
        fetcher: &mut Fetcher,
        settings: &Settings,
        partitions: &[TopicPartition],
    ) -> Result<(), Error> {
        let committed = self.member.committed(partitions)?;
        let mut names: Vec<&str> = partitions.iter().map(|partition| partition.topic.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(());
        }
        let topics = fetcher.topics(Topics::Named { names: &names, create: false })?;
        for partition in partitions {
            let Some(topic) = TopicDescription::of_name(&topics, &partition.topic) else { continue };
            match committed.get(partition) {
                Some(committed) => fetcher.resume(topic, partition.partition.0, *committed),
                None => fetcher.assign(topic, partition.partition.0, Position::End(settings.fetcher.reset)),
            }
        }
        Ok(())
    }

    /// Commits what has been shown. A failure is told, and the next commit makes up for it.
    fn commit(&mut self, fetcher: &Fetcher) {
        if let Err(error) = self.member.commit(&fetcher.shown()) {
            eprintln!("WARN Offsets were not committed: {error}");
        }
        self.schedule_commit();
    }

    fn schedule_commit(&mut self) {
        self.commit_at = Instant::now() + self.auto_commit.unwrap_or_default();
    }
}
