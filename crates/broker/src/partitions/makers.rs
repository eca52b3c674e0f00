//! Threads that make and remove logs for all commands of the controller at once, several at a time: making one waits for the disk
//! again and again, which waits for several as long as for one.
//!
//! ```text
//!   create 1,500 partitions   [m m m m m ..] --\
//!   create one                [m]              |--> one of each in turn --> when all of a job is done: settle, tell
//!   delete 300                [r r r r ..]   --/
//!   create one of the 300     [m]                   waits for the job that is about the same topic
//! ```
//!
//! So nobody waits for what others have asked for, but for their own topics.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use super::Partitions;
use super::hosting::{Change, Done};
use crate::node::clock;

/// So many logs are made at a time.
const THREADS: usize = 8;

/// What one command asks for.
#[derive(Default)]
pub struct Changes {
    topics: BTreeSet<Arc<str>>,
    changes: VecDeque<Change>,
}

/// The threads. Dropped, they end: when folders of deleted topics have other names. Logs that are not begun are made by the next
/// start.
pub struct Makers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    partitions: Arc<Partitions>,
    queue: Mutex<Queue<Change, Done>>,
    changed: Condvar,
}

/// What is to be done. It is bounded by what may wait for the controller.
struct Queue<C, D> {
    /// In turn.
    jobs: VecDeque<Job<C, D>>,
    /// The newest job of each topic that has one.
    newest: HashMap<Arc<str>, u64>,
    next_id: u64,
    is_stopping: bool,
}

struct Job<C, D> {
    id: u64,
    topics: BTreeSet<Arc<str>>,
    /// Jobs that are about some of these topics too, and come first.
    after: BTreeSet<u64>,
    waiting: VecDeque<C>,
    running: usize,
    done: Vec<D>,
    tell: Box<dyn FnOnce() + Send>,
}

/// What a thread does next.
enum Step<C, D> {
    CarryOut(u64, C),
    Settle(Job<C, D>),
}

impl Changes {
    /// Adds those of one topic.
    pub fn extend(&mut self, topic: &Arc<str>, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.topics.insert(Arc::clone(topic));
            self.changes.extend(changes);
        }
    }

    /// Adds others.
    pub fn append(&mut self, mut others: Self) {
        self.topics.append(&mut others.topics);
        self.changes.append(&mut others.changes);
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl Makers {
    /// Starts the threads.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn start(partitions: Arc<Partitions>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { partitions, queue: Mutex::default(), changed: Condvar::new() });
        let mut makers = Self { shared, threads: Vec::new() };
        for _ in 0..THREADS {
            let shared = Arc::clone(&makers.shared);
            let thread = std::thread::Builder::new().name("ottla-maker".to_owned());
            makers.threads.push(thread.spawn(move || shared.work())?);
        }
        Ok(makers)
    }

    /// Has all of `changes` carried out, and `tell` called then.
    pub fn begin(&self, changes: Changes, tell: impl FnOnce() + Send + 'static) {
        self.shared.queue().add(changes.topics, changes.changes, Box::new(tell));
        self.shared.changed.notify_all();
    }
}

impl Drop for Makers {
    fn drop(&mut self) {
        self.shared.queue().stop(|change| !matches!(change, Change::Make(_)));
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            if let Err(panic) = thread.join()
                && !std::thread::panicking()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl Shared {
    fn work(&self) {
        while let Some(step) = self.next() {
            match step {
                Step::CarryOut(id, change) => {
                    let if_unknown = change.if_unknown();
                    let done = unless_panicked(|| self.partitions.carry_out(change, clock::now_ms()));
                    self.queue().on_done(id, done.unwrap_or(if_unknown));
                }
                Step::Settle(job) => {
                    let unsettled = self.partitions.unsettled(&job.done);
                    // What failed was told, and is tried again.
                    if unless_panicked(|| self.partitions.settle(job.done, clock::now_ms())).is_none() {
                        self.partitions.open_later(unsettled, clock::now_ms());
                    }
                    self.queue().on_settled(job.id, &job.topics);
                    (job.tell)();
                }
            }
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<Step<Change, Done>> {
        let mut queue = self.queue();
        loop {
            match queue.next() {
                None if queue.is_over() => return None,
                None => queue = self.changed.wait(queue).expect("nobody panics while holding this lock"),
                step => return step,
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<Change, Done>> {
        self.queue.lock().expect("nobody panics while holding this lock")
    }
}

/// Does something for others, who wait for it to be done whatever comes of it; nothing comes of it where it panics.
fn unless_panicked<T>(work: impl FnOnce() -> T) -> Option<T> {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    done.inspect_err(|_| {
        tracing::error!("a bug: whoever makes and removes logs has panicked, and goes on with the next");
    })
    .ok()
}

impl<C, D> Default for Queue<C, D> {
    fn default() -> Self {
        Self { jobs: VecDeque::new(), newest: HashMap::new(), next_id: 0, is_stopping: false }
    }
}

impl<C, D> Queue<C, D> {
    fn add(&mut self, topics: BTreeSet<Arc<str>>, waiting: VecDeque<C>, tell: Box<dyn FnOnce() + Send>) {
        let id = self.next_id;
        self.next_id += 1;
        let after = topics.iter().filter_map(|topic| self.newest.insert(Arc::clone(topic), id)).collect();
        self.jobs.push_back(Job { id, topics, after, waiting, running: 0, done: Vec::new(), tell });
    }

    /// The next step of the first job that has one; that job is the last then.
    fn next(&mut self) -> Option<Step<C, D>> {
        for _ in 0..self.jobs.len() {
            let mut job = self.jobs.pop_front()?;
            let change = if job.after.is_empty() { job.waiting.pop_front() } else { None };
            if let Some(change) = change {
                let id = job.id;
                job.running += 1;
                self.jobs.push_back(job);
                return Some(Step::CarryOut(id, change));
            }
            if job.after.is_empty() && job.running == 0 {
                return Some(Step::Settle(job));
            }
            self.jobs.push_back(job);
        }
        None
    }

    fn on_done(&mut self, id: u64, done: D) {
        let job = self.jobs.iter_mut().find(|job| job.id == id).expect("a job is there until all of it is done");
        job.running -= 1;
        job.done.push(done);
    }

    fn on_settled(&mut self, id: u64, topics: &BTreeSet<Arc<str>>) {
        for topic in topics {
            if self.newest.get(topic) == Some(&id) {
                self.newest.remove(topic);
            }
        }
        self.jobs.iter_mut().for_each(|job| _ = job.after.remove(&id));
    }

    /// Leaves out what has not begun and `is_needed` not.
    fn stop(&mut self, is_needed: impl Fn(&C) -> bool) {
        self.is_stopping = true;
        self.jobs.iter_mut().for_each(|job| job.waiting.retain(&is_needed));
    }

    fn is_over(&self) -> bool {
        self.is_stopping && self.jobs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Numbers = Queue<u32, u32>;

    fn add(queue: &mut Numbers, topics: &[&str], changes: &[u32]) {
        let topics = topics.iter().map(|topic| Arc::from(*topic)).collect();
        queue.add(topics, changes.iter().copied().collect(), Box::new(|| ()));
    }

    /// What is handed out now, a settled job as its changes.
    fn hand_out(queue: &mut Numbers) -> Vec<String> {
        let mut handed = Vec::new();
        while let Some(step) = queue.next() {
            handed.push(match step {
                Step::CarryOut(id, change) => {
                    queue.on_done(id, change);
                    change.to_string()
                }
                Step::Settle(job) => {
                    queue.on_settled(job.id, &job.topics);
                    format!("{:?}", job.done)
                }
            });
        }
        handed
    }

    #[test]
    fn every_job_has_its_turn() {
        let mut queue = Numbers::default();
        add(&mut queue, &["many"], &[1, 2, 3, 4]);
        add(&mut queue, &["one"], &[10]);
        add(&mut queue, &["two"], &[20, 21]);
        assert_eq!(hand_out(&mut queue).join(" "), "1 10 20 2 [10] 21 3 [20, 21] 4 [1, 2, 3, 4]");
        assert!(queue.newest.is_empty());
    }

    #[test]
    fn what_is_about_the_same_topic_comes_in_order() {
        let mut queue = Numbers::default();
        add(&mut queue, &["a", "b"], &[1, 2]);
        add(&mut queue, &["b", "c"], &[3]);
        add(&mut queue, &["c"], &[4]);
        add(&mut queue, &["d"], &[5]);
        assert_eq!(hand_out(&mut queue).join(" "), "1 5 2 [5] [1, 2] 3 [3] 4 [4]");
    }

    #[test]
    fn a_job_is_settled_when_all_of_it_is_done() {
        let mut queue = Numbers::default();
        add(&mut queue, &["a"], &[1, 2]);
        let ids: Vec<u64> = std::iter::from_fn(|| match queue.next()? {
            Step::CarryOut(id, _) => Some(id),
            Step::Settle(_) => panic!("two are running"),
        })
        .collect();
        queue.on_done(ids[0], 1);
        assert!(queue.next().is_none());
        queue.on_done(ids[1], 2);
        assert!(matches!(queue.next(), Some(Step::Settle(_))));
    }

    #[test]
    fn a_stop_leaves_out_what_the_next_start_does() {
        let mut queue = Numbers::default();
        add(&mut queue, &["a"], &[1, 2, 3]);
        add(&mut queue, &["a"], &[4, 5]);
        queue.stop(|change| change % 2 == 0);
        assert!(!queue.is_over());
        assert_eq!(hand_out(&mut queue).join(" "), "2 [2] 4 [4]");
        assert!(queue.is_over());
    }
}
