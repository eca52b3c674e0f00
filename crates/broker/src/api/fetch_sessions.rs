//! Fetch sessions (KIP-227): what a consumer fetches is remembered, so that its next request names only what changed.
//!
//! ```text
//!   epoch 0: full fetch, opens a session --> id, then epochs 1, 2, ... 2147483647, 1: only changes, both ways
//!   epoch -1: full fetch without a session; closes the one it names
//! ```
//!
//! Pure but for its lock: partitions are opaque here, the time is an argument.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ottla_base::{Random, Uuid};
use ottla_protocol::error::ErrorCode;

/// What the sessions of all clients may remember, in bytes: about 100,000 partitions. Who finds no room gets no session, as
/// where there is no slot, and names all its partitions each time. Differs from Kafka, which counts sessions only.
const REMEMBERED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// About what one partition takes, but for the name of its topic.
const ENTRY_BYTES: usize = 2 * (size_of::<(TopicKey, i32)>() + size_of::<u64>()) + size_of::<Remembered>();
/// A session that was not used for this long gives way to a new one.
const EVICTABLE_AFTER: Duration = Duration::from_secs(120);
/// "Open a session, or close the one named."
const INITIAL_EPOCH: i32 = 0;
/// "No session; close the one named."
const FINAL_EPOCH: i32 = -1;
/// "No session", as an id.
pub const NO_SESSION: i32 = 0;

/// How a request names a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicKey {
    /// By name, up to version 12.
    Name(Arc<str>),
    /// By id, from version 13 on.
    Id(Uuid),
}

/// One partition that a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its topic.
    pub topic: TopicKey,
    /// The name of a topic that is asked for by its id, as it was when there first was such a topic: one that is deleted later,
    /// or made anew, is known by it, and so says Kafka's code for that. It is shared with the image.
    pub name: Option<Arc<str>>,
    /// Its number.
    pub partition: i32,
    /// The first offset wanted.
    pub offset: i64,
    /// At most this many bytes of it.
    pub max_bytes: i32,
    /// The leader epoch the client believes in, or -1.
    pub current_leader_epoch: i32,
    /// The epoch of the last record the client has, or -1.
    pub last_fetched_epoch: i32,
}

/// What an answer says of one partition, as far as the session must remember it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The high watermark.
    pub high_watermark: i64,
    /// The log start offset.
    pub log_start_offset: i64,
    /// Whether records go with it.
    pub has_records: bool,
    /// Whether it must be said even if nothing changed: an error, a divergence.
    pub is_news: bool,
}

/// All sessions of a broker.
pub struct FetchSessions {
    slots: usize,
    memory_bytes: usize,
    /// What the sessions of the cache remember.
    used_bytes: Arc<AtomicUsize>,
    cache: Mutex<Cache>,
}

struct Cache {
    sessions: HashMap<i32, Arc<Mutex<Session>>>,
    ids: Random,
}

struct Session {
    used_bytes: Used,
    next_epoch: i32,
    by_id: bool,
    created: Instant,
    last_used: Instant,
    /// In the order of the next answer; partitions that gave data in an incremental answer go to the end, so that all get their
    /// share.
    order: BTreeMap<u64, Remembered>,
    index: HashMap<(TopicKey, i32), u64>,
    next_place: u64,
}

/// What one session remembers; given back with it.
struct Used {
    all: Arc<AtomicUsize>,
    own: usize,
}

struct Remembered {
    wanted: Wanted,
    high_watermark: i64,
    log_start_offset: i64,
    /// What is counted for it.
    memory_bytes: usize,
}

/// A fetch that is under way.
pub struct Opened {
    /// The id that the answer carries.
    pub session_id: i32,
    /// What to read, in order.
    pub wanted: Vec<Wanted>,
    session: Option<Arc<Mutex<Session>>>,
    incremental: bool,
}

impl FetchSessions {
    /// At most `slots` sessions (`max.incremental.fetch.session.cache.slots`), with ids that follow from `seed`.
    pub fn new(slots: usize, seed: u64) -> Self {
        Self::with_memory(slots, seed, REMEMBERED_BYTES_MAX)
    }

    fn with_memory(slots: usize, seed: u64, memory_bytes: usize) -> Self {
        let cache = Mutex::new(Cache { sessions: HashMap::new(), ids: Random::new(seed) });
        Self { slots, memory_bytes, used_bytes: Arc::default(), cache }
    }

    /// Finds, opens or closes the session of a request.
    pub fn open(
        &self,
        now: Instant,
        (session_id, epoch): (i32, i32),
        by_id: bool,
        wanted: Vec<Wanted>,
        forgotten: impl IntoIterator<Item = (TopicKey, i32)>,
    ) -> Result<Opened, ErrorCode> {
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            let closed = self.lock().sessions.remove(&session_id);
            drop(closed);
            let session = if epoch == INITIAL_EPOCH { self.create(now, by_id, &wanted) } else { None };
            let (session_id, session) = session.map_or((NO_SESSION, None), |(id, session)| (id, Some(session)));
            return Ok(Opened { session_id, wanted, session, incremental: false });
        }
        let session = self.lock().sessions.get(&session_id).cloned().ok_or(ErrorCode::FetchSessionIdNotFound)?;
        let mut state = session.lock().expect("nobody panics while holding this lock");
        if state.next_epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if state.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        state.next_epoch = next_epoch(epoch);
        state.last_used = now;
        // What is wanted and forgotten at once is forgotten, as in Kafka.
        let forgotten: HashSet<_> = forgotten.into_iter().collect();
        forgotten.iter().for_each(|(topic, partition)| state.forget(topic, *partition));
        let is_left =
            |wanted: &Wanted| forgotten.is_empty() || !forgotten.contains(&(wanted.topic.clone(), wanted.partition));
        let has_room = wanted.into_iter().filter(is_left).all(|wanted| state.want(wanted, self.memory_bytes));
        let all: Vec<Wanted> = state.order.values().map(|remembered| remembered.wanted.clone()).collect();
        drop(state);
        if !has_room {
            self.lock().sessions.remove(&session_id);
            // The client begins anew, with all its partitions, and is served without a session.
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        if all.is_empty() {
            self.lock().sessions.remove(&session_id);
            return Ok(Opened { session_id: NO_SESSION, wanted: all, session: None, incremental: true });
        }
        Ok(Opened { session_id, wanted: all, session: Some(session), incremental: true })
    }

    /// Whether a session remembers any partition that is so.
    pub fn any(&self, session_id: i32, is_so: impl Fn(&Wanted) -> bool) -> bool {
        let session = self.lock().sessions.get(&session_id).cloned();
        session.is_some_and(|session| {
            let session = session.lock().expect("nobody panics while holding this lock");
            session.order.values().any(|remembered| is_so(&remembered.wanted))
        })
    }

    /// How many partitions a session remembers; none where there is no such session.
    pub fn remembered(&self, session_id: i32) -> usize {
        let session = self.lock().sessions.get(&session_id).cloned();
        session.map_or(0, |session| session.lock().expect("nobody panics while holding this lock").order.len())
    }

    /// Remembers `wanted` as a new session, if there is room for it.
    fn create(&self, now: Instant, by_id: bool, wanted: &[Wanted]) -> Option<(i32, Arc<Mutex<Session>>)> {
        let mut session = Session {
            used_bytes: Used { all: self.used_bytes.clone(), own: 0 },
            next_epoch: 1,
            by_id,
            created: now,
            last_used: now,
            order: BTreeMap::new(),
            index: HashMap::new(),
            next_place: 0,
        };
        let mut remember = || wanted.iter().all(|wanted| session.want(wanted.clone(), self.memory_bytes));
        if !remember() {
            self.evict_stale(now);
            if !remember() {
                return None;
            }
        }
        let mut cache = self.lock();
        if cache.sessions.len() >= self.slots && !cache.evict(now, wanted.len()) {
            return None;
        }
        let id = cache.new_id();
        let session = Arc::new(Mutex::new(session));
        cache.sessions.insert(id, session.clone());
        Some((id, session))
    }

    /// All that were not used for long give back what they remember.
    fn evict_stale(&self, now: Instant) {
        let is_stale = |session: &Mutex<Session>| {
            let session = session.lock().expect("nobody panics while holding this lock");
            now.duration_since(session.last_used) > EVICTABLE_AFTER
        };
        self.lock().sessions.retain(|_, session| !is_stale(session));
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().expect("nobody panics while holding this lock")
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.lock().sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Opened {
    /// Finds the names of topics that were unknown when their ids were asked for first. As in Kafka, a session does that with
    /// each of its fetches.
    pub fn name_unknown(&mut self, name_of: impl Fn(Uuid) -> Option<Arc<str>>) {
        for wanted in &mut self.wanted {
            if let (TopicKey::Id(id), None) = (&wanted.topic, &wanted.name) {
                wanted.name = name_of(*id);
            }
        }
    }

    /// Remembers what is about to be said (one entry for each of `wanted`, in order), and tells which of them the answer
    /// carries: all in a full answer, the changed ones in an incremental one.
    pub fn say(&self, said: &[Said]) -> Vec<bool> {
        assert_eq!(said.len(), self.wanted.len(), "an answer speaks of every partition once");
        let Some(session) = &self.session else { return vec![true; said.len()] };
        let mut session = session.lock().expect("nobody panics while holding this lock");
        let say = |(wanted, said): (&Wanted, &Said)| session.say(wanted, *said, self.incremental) || !self.incremental;
        self.wanted.iter().zip(said).map(say).collect()
    }
}

impl Cache {
    fn new_id(&mut self) -> i32 {
        loop {
            let id = (self.ids.next_u64() >> 33) as i32;
            if id != NO_SESSION && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    /// Makes room for a session of `newcomer` partitions: the one unused for longest goes if that is long enough, else
    /// a smaller one that has had its time.
    fn evict(&mut self, now: Instant, newcomer: usize) -> bool {
        let describe = |(id, session): (&i32, &Arc<Mutex<Session>>)| {
            let session = session.lock().expect("nobody panics while holding this lock");
            (*id, session.last_used, session.created, session.order.len())
        };
        let all: Vec<_> = self.sessions.iter().map(describe).collect();
        let stale = all.iter().filter(|(_, used, ..)| now.duration_since(*used) > EVICTABLE_AFTER);
        let smaller = all
            .iter()
            .filter(|(_, _, created, size)| *size < newcomer && now.duration_since(*created) > EVICTABLE_AFTER);
        let victim = stale.min_by_key(|(_, used, ..)| *used).or_else(|| smaller.min_by_key(|(.., size)| *size));
        victim.is_some_and(|(id, ..)| self.sessions.remove(id).is_some())
    }
}

impl Session {
    /// Remembers a partition, or what is new of it; false where all sessions together would take more than `memory_bytes`.
    fn want(&mut self, wanted: Wanted, memory_bytes: usize) -> bool {
        let key = (wanted.topic.clone(), wanted.partition);
        if let Some(place) = self.index.get(&key) {
            let remembered = self.order.get_mut(place).expect("the index names places that exist");
            let name = remembered.wanted.name.take().or(wanted.name);
            remembered.wanted = Wanted { name, ..wanted };
            return true;
        }
        let own_bytes = wanted.memory_bytes();
        if !self.used_bytes.take(own_bytes, memory_bytes) {
            return false;
        }
        self.index.insert(key, self.next_place);
        let remembered = Remembered { wanted, high_watermark: -1, log_start_offset: -1, memory_bytes: own_bytes };
        self.order.insert(self.next_place, remembered);
        self.next_place += 1;
        true
    }

    fn forget(&mut self, topic: &TopicKey, partition: i32) {
        if let Some(place) = self.index.remove(&(topic.clone(), partition)) {
            let forgotten = self.order.remove(&place).expect("the index names places that exist");
            self.used_bytes.give_back(forgotten.memory_bytes);
        }
    }

    /// Remembers what is said, and says whether it is news. Only an incremental answer changes the order, as in Kafka.
    fn say(&mut self, wanted: &Wanted, said: Said, incremental: bool) -> bool {
        let Some(place) = self.index.get_mut(&(wanted.topic.clone(), wanted.partition)) else { return true };
        let remembered = self.order.get_mut(place).expect("the index names places that exist");
        if remembered.wanted.name.is_none() {
            remembered.wanted.name.clone_from(&wanted.name);
        }
        let changed =
            remembered.high_watermark != said.high_watermark || remembered.log_start_offset != said.log_start_offset;
        remembered.high_watermark = said.high_watermark;
        remembered.log_start_offset = said.log_start_offset;
        if said.has_records && incremental {
            let remembered = self.order.remove(place).expect("the index names places that exist");
            self.order.insert(self.next_place, remembered);
            *place = self.next_place;
            self.next_place += 1;
        }
        changed || said.has_records || said.is_news
    }
}

impl TopicKey {
    /// Whether it is this name. A topic that is known by its id has none here.
    pub fn is_named(&self, name: &str) -> bool {
        matches!(self, Self::Name(own) if **own == *name)
    }
}

impl Wanted {
    /// The name of its topic, where that is known.
    pub fn topic_name(&self) -> Option<&Arc<str>> {
        match &self.topic {
            TopicKey::Name(name) => Some(name),
            TopicKey::Id(_) => self.name.as_ref(),
        }
    }

    /// The bytes of its topic's name. They are counted with each of its partitions, though these may share it; and of a topic
    /// that is asked for by its id too, which the session remembers longer than the image may.
    pub fn name_bytes(&self) -> usize {
        self.topic_name().map_or(0, |name| name.len())
    }

    /// What it takes to remember.
    fn memory_bytes(&self) -> usize {
        ENTRY_BYTES + self.name_bytes()
    }
}

impl Used {
    fn take(&mut self, bytes: usize, limit_bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= limit_bytes);
        let taken = self.all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        self.own += if taken { bytes } else { 0 };
        taken
    }

    fn give_back(&mut self, bytes: usize) {
        self.own -= bytes;
        self.all.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        self.give_back(self.own);
    }
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(topic: &str, partition: i32) -> Wanted {
        let topic = TopicKey::Name(topic.into());
        let (current_leader_epoch, last_fetched_epoch) = (-1, -1);
        Wanted { topic, name: None, partition, offset: 0, max_bytes: 1, current_leader_epoch, last_fetched_epoch }
    }

    fn said(high_watermark: i64, has_records: bool) -> Said {
        Said { high_watermark, log_start_offset: 0, has_records, is_news: false }
    }

    #[test]
    fn an_incremental_answer_says_what_changed_and_gives_everyone_a_turn() {
        let (sessions, now) = (FetchSessions::new(10, 1), Instant::now());
        let full = sessions.open(now, (0, 0), false, vec![wanted("a", 0), wanted("a", 1)], []).expect("new");
        assert_eq!(full.say(&[said(5, true), said(0, false)]), [true, true]);
        let next = sessions.open(now, (full.session_id, 1), false, vec![], []).expect("known");
        let order = |opened: &Opened| opened.wanted.iter().map(|wanted| wanted.partition).collect::<Vec<_>>();
        assert_eq!(order(&next), [0, 1], "a full answer changes no order");
        assert_eq!(next.say(&[said(6, true), said(0, false)]), [true, false]);
        let next = sessions.open(now, (full.session_id, 2), false, vec![], []).expect("known");
        assert_eq!(order(&next), [1, 0], "what gave data goes last");
        assert_eq!(next.say(&[said(0, false), said(7, false)]), [false, true]);
    }

    #[test]
    fn the_name_that_an_id_had_is_remembered() {
        let (sessions, now) = (FetchSessions::new(10, 1), Instant::now());
        let named =
            |name: Option<&str>| Wanted { topic: TopicKey::Id(Uuid(7)), name: name.map(Into::into), ..wanted("", 0) };
        let id = sessions.open(now, (0, 0), true, vec![named(Some("a"))], []).expect("new").session_id;
        for (epoch, again) in [(1, vec![]), (2, vec![Wanted { offset: 5, ..named(None) }]), (3, vec![])] {
            let opened = sessions.open(now, (id, epoch), true, again, []).expect("known");
            assert_eq!(opened.wanted[0].name.as_deref(), Some("a"));
            assert_eq!(opened.wanted[0].offset, if epoch == 1 { 0 } else { 5 });
        }
    }

    #[test]
    fn a_topic_that_comes_later_is_found_and_remembered() {
        let (sessions, now) = (FetchSessions::new(10, 1), Instant::now());
        let unnamed = Wanted { topic: TopicKey::Id(Uuid(7)), ..wanted("", 0) };
        let first = sessions.open(now, (0, 0), true, vec![unnamed], []).expect("new");
        let id = first.session_id;
        for (epoch, known, expected) in [(1, None, None), (2, Some("late"), Some("late")), (3, None, Some("late"))] {
            let mut opened = sessions.open(now, (id, epoch), true, vec![], []).expect("known");
            opened.name_unknown(|id| known.filter(|_| id == Uuid(7)).map(Into::into));
            assert_eq!(opened.wanted[0].name.as_deref(), expected, "epoch {epoch}");
            opened.say(&[said(0, false)]);
        }
        drop(first);
        let forgotten = [(TopicKey::Id(Uuid(7)), 0)];
        sessions.open(now, (id, 4), true, vec![], forgotten).expect("known");
        assert_eq!(sessions.used_bytes.load(Ordering::Relaxed), 0, "as much is given back as was counted");
    }

    #[test]
    fn what_is_wanted_and_forgotten_at_once_is_forgotten() {
        let (sessions, now) = (FetchSessions::new(10, 1), Instant::now());
        let first = vec![wanted("a", 0), wanted("a", 1)];
        let id = sessions.open(now, (0, 0), false, first, []).expect("new").session_id;
        let forgotten = [0, 2].map(|partition| (TopicKey::Name("a".into()), partition));
        let more = vec![wanted("a", 0), wanted("a", 2), wanted("a", 3)];
        let next = sessions.open(now, (id, 1), false, more, forgotten).expect("known");
        let order: Vec<i32> = next.wanted.iter().map(|wanted| wanted.partition).collect();
        assert_eq!(order, [1, 3]);
    }

    #[test]
    fn epochs_ids_and_the_way_of_naming_are_checked() {
        let (sessions, now) = (FetchSessions::new(10, 1), Instant::now());
        let id = sessions.open(now, (0, 0), false, vec![wanted("a", 0)], []).expect("new").session_id;
        let open = |id, epoch, by_id| sessions.open(now, (id, epoch), by_id, vec![], []).map(|o| o.session_id);
        assert_eq!(open(id, 2, false), Err(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(open(id, 1, true), Err(ErrorCode::FetchSessionTopicIdError));
        assert_eq!(open(id, 1, false), Ok(id));
        assert_eq!(open(id, 1, false), Err(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(open(id + 1, 1, false), Err(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(open(id, -1, false), Ok(NO_SESSION));
        assert_eq!(open(id, 2, false), Err(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(next_epoch(i32::MAX), 1);
    }

    #[test]
    fn forgetting_the_last_partition_ends_the_session() {
        let (sessions, now) = (FetchSessions::new(10, 1), Instant::now());
        let id = sessions.open(now, (0, 0), false, vec![wanted("a", 0)], []).expect("new").session_id;
        let forgotten = [(TopicKey::Name("a".into()), 0)];
        let ended = sessions.open(now, (id, 1), false, vec![], forgotten).expect("known");
        assert_eq!((ended.session_id, ended.wanted.len(), sessions.len()), (NO_SESSION, 0, 0));
    }

    #[test]
    fn sessions_that_would_remember_too_much_are_not_made() {
        let sessions = FetchSessions::with_memory(10, 1, 100 * wanted("a", 0).memory_bytes());
        let now = Instant::now();
        let many = |count| (0..count).map(|partition| wanted("a", partition)).collect::<Vec<_>>();
        let open = |session, wanted| sessions.open(now, session, false, wanted, []).map(|opened| opened.session_id);
        assert_eq!(open((0, 0), many(101)), Ok(NO_SESSION));
        let id = open((0, 0), many(60)).expect("there is room");
        assert_ne!(id, NO_SESSION);
        assert_eq!(open((0, 0), many(60)), Ok(NO_SESSION), "the other one has the room");
        assert_eq!(open((id, 1), many(100)), Ok(id), "those it has already cost nothing");
        assert_eq!(open((id, 2), many(101)), Err(ErrorCode::FetchSessionIdNotFound), "it has to begin anew");
        assert_eq!((sessions.len(), sessions.used_bytes.load(Ordering::Relaxed)), (0, 0));
        assert_ne!(open((0, 0), many(100)), Ok(NO_SESSION));
        let later = now + EVICTABLE_AFTER + Duration::from_secs(1);
        let opened = sessions.open(later, (0, 0), false, many(100), []).expect("without a session or with one");
        assert_ne!(opened.session_id, NO_SESSION, "the other one was idle for long");
    }

    #[test]
    fn what_is_forgotten_makes_room() {
        let sessions = FetchSessions::with_memory(10, 1, wanted("a", 0).memory_bytes());
        let now = Instant::now();
        let id = sessions.open(now, (0, 0), false, vec![wanted("a", 0)], []).expect("new").session_id;
        let forgotten = [(TopicKey::Name("a".into()), 0)];
        let next = sessions.open(now, (id, 1), false, vec![wanted("a", 1)], forgotten).expect("known");
        assert_eq!((next.session_id, next.wanted.len()), (id, 1));
    }

    #[test]
    fn a_full_cache_refuses_until_somebody_was_idle_for_long() {
        let (sessions, now) = (FetchSessions::new(1, 1), Instant::now());
        let first = sessions.open(now, (0, 0), false, vec![wanted("a", 0)], []).expect("new").session_id;
        let refused = sessions.open(now, (0, 0), false, vec![wanted("a", 0)], []).expect("without a session");
        assert_eq!(refused.session_id, NO_SESSION);
        let later = now + EVICTABLE_AFTER + Duration::from_secs(1);
        let second = sessions.open(later, (0, 0), false, vec![wanted("a", 0)], []).expect("new").session_id;
        assert!(second != NO_SESSION && second != first);
        assert_eq!(sessions.len(), 1);
    }
}
