//! Producers of one partition take turns, and those who come while another one writes leave their batch with it instead of
//! sleeping until it is done; unless it is done at once.
//!
//! ```text
//!   free  --enter--> writing --leave--> free                  nobody came meanwhile
//!                      |  ^
//!     jobs that come --+  +-- the writer takes them along: as many as it may, the rest is for whoever enters next
//! ```
//!
//! Jobs are done in the order in which they came, and before the batch of whoever enters: so the batches of one connection
//! keep their order. Nobody holds a turn across an await.

use std::collections::VecDeque;
use std::hint;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// So many jobs of others are done before a writer goes on with its own work.
const TAKEN_ALONG_MAX: usize = 32;

/// So long a thread that comes while another one writes looks whether the turn is free, before it leaves a copy of its batch, or
/// sleeps: one batch or two are written meanwhile, and a connection that has to be woken for its answer costs as much.
const AWAKE: Duration = Duration::from_micros(20);
/// How often it pauses between two looks: that is some half a microsecond.
const PAUSES: u32 = 20;

/// Whose turn it is, and what waits.
#[derive(Debug)]
pub struct Turns<J> {
    state: Mutex<State<J>>,
    /// Changed under the lock of the state only; who stays awake reads it without.
    is_writing: AtomicBool,
    left: Condvar,
}

#[derive(Debug)]
struct State<J> {
    jobs: VecDeque<J>,
    /// Threads that wait for the turn: waking nobody costs a system call too.
    waiting: usize,
}

/// The right to write, until it is dropped.
#[derive(Debug)]
pub struct Turn<'t, J> {
    turns: &'t Turns<J>,
    taken_along: usize,
}

impl<J> Default for Turns<J> {
    fn default() -> Self {
        let state = Mutex::new(State { jobs: VecDeque::new(), waiting: 0 });
        Self { state, is_writing: AtomicBool::new(false), left: Condvar::new() }
    }
}

impl<J> Turns<J> {
    /// The turn, or `None` if `job` was left with whoever has it, or has waited for it. Where there is no `job` to leave, this
    /// waits. A job that was made in vain, as the turn became free meanwhile, is dropped.
    pub fn enter(&self, job: impl FnOnce() -> Option<J>) -> Option<Turn<'_, J>> {
        if let Some(turn) = self.enter_awake() {
            return Some(turn);
        }
        // It is made while others go on: it copies a batch.
        let job = job();
        let mut state = self.lock();
        if job.is_some() && !self.is_free(&state) {
            state.jobs.extend(job);
            return None;
        }
        state.waiting += 1;
        // Who has nothing to leave does pass those who are being woken: if all of them slept, each batch would cost a wake-up.
        let left = self.left.wait_while(state, |_| self.is_writing());
        state = left.expect("nobody panics while holding this lock");
        state.waiting -= 1;
        Some(self.begin(&mut state))
    }

    /// The turn, if nobody has it.
    pub fn try_enter(&self) -> Option<Turn<'_, J>> {
        let mut state = self.lock();
        (!self.is_writing()).then(|| self.begin(&mut state))
    }

    /// The turn, if it is free, or becomes free while this thread stays awake.
    fn enter_awake(&self) -> Option<Turn<'_, J>> {
        let mut begun = None;
        loop {
            if !self.is_writing() {
                let mut state = self.lock();
                if self.is_free(&state) {
                    return Some(self.begin(&mut state));
                }
                if !self.is_writing() {
                    // It is somebody's who is being woken, and needs the processor for that.
                    return None;
                }
            }
            if begun.get_or_insert_with(Instant::now).elapsed() >= AWAKE {
                return None;
            }
            (0..PAUSES).for_each(|_| hint::spin_loop());
        }
    }

    /// Nobody writes, and nobody is being woken for it: whoever is awake would always be there first.
    fn is_free(&self, state: &State<J>) -> bool {
        !self.is_writing() && state.waiting == 0
    }

    fn is_writing(&self) -> bool {
        self.is_writing.load(Ordering::Relaxed)
    }

    /// For whoever holds the lock, which is why it is handed in.
    fn begin(&self, _state: &mut State<J>) -> Turn<'_, J> {
        self.is_writing.store(true, Ordering::Relaxed);
        Turn { turns: self, taken_along: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().expect("nobody panics while holding this lock")
    }
}

impl<J> Turn<'_, J> {
    /// All jobs that came before this turn began: to be done before anything else.
    pub fn waiting(&mut self) -> VecDeque<J> {
        std::mem::take(&mut self.turns.lock().jobs)
    }

    /// The next job to be taken along, if there is one and this turn has not done enough for others.
    pub fn next(&mut self) -> Option<J> {
        if self.taken_along == TAKEN_ALONG_MAX {
            return None;
        }
        self.taken_along += 1;
        self.turns.lock().jobs.pop_front()
    }

    /// Ends the turn, and says whether jobs are left: whoever hears that must see to it that somebody enters soon.
    #[must_use]
    pub fn leave(self) -> bool {
        let left = !self.end().jobs.is_empty();
        // It has ended, and must not end that of the next one.
        std::mem::forget(self);
        left
    }

    /// In one step, as long as that is held: who comes from now on enters, and who came before is seen there.
    fn end(&self) -> MutexGuard<'_, State<J>> {
        let state = self.turns.lock();
        self.turns.is_writing.store(false, Ordering::Relaxed);
        if state.waiting > 0 {
            self.turns.left.notify_one();
        }
        state
    }
}

impl<J> Drop for Turn<'_, J> {
    fn drop(&mut self) {
        // Who does not leave it panics, and nobody may enter soon: those who left a job hear that it is gone.
        let jobs = std::mem::take(&mut self.end().jobs);
        drop(jobs);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;

    use super::*;

    #[test]
    fn a_job_is_left_with_whoever_writes() {
        let turns = Turns::default();
        let mut turn = turns.enter(|| Some(1)).expect("nobody writes");
        assert!(turns.enter(|| Some(2)).is_none());
        assert!(turns.enter(|| Some(3)).is_none());
        assert_eq!(turn.next(), Some(2));
        assert!(turn.leave(), "3 is left");
        let mut turn = turns.enter(|| Some(4)).expect("nobody writes");
        assert_eq!(turn.waiting(), [3]);
        assert_eq!(turn.next(), None);
        assert!(!turn.leave());
    }

    #[test]
    fn a_turn_that_becomes_free_meanwhile_is_had_and_nothing_is_left() {
        let turns = Turns::default();
        let turn = turns.enter(|| None).expect("nobody writes");
        let mut first = Some(turn);
        let mut turn = turns.enter(|| {
            drop(first.take());
            Some(1)
        });
        let turn = turn.as_mut().expect("it is free by now");
        assert!(turn.waiting().is_empty(), "the job was made in vain");
    }

    #[test]
    fn who_has_left_a_job_with_a_writer_that_panics_hears_of_it() {
        let turns = Turns::default();
        let turn = turns.enter(|| None).expect("nobody writes");
        let (job, heard) = mpsc::channel::<()>();
        assert!(turns.enter(|| Some(job)).is_none());
        let panic_over = |_turn: Turn<'_, _>| std::panic::resume_unwind(Box::new(()));
        let writer: thread::Result<()> = thread::scope(|scope| scope.spawn(|| panic_over(turn)).join());
        writer.unwrap_err();
        assert_eq!(heard.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        assert!(turns.try_enter().is_some());
    }

    #[test]
    fn who_sleeps_comes_before_those_who_come_later() {
        let turns = Arc::new(Turns::default());
        let turn = turns.enter(|| None).expect("nobody writes");
        let (go_on, told) = mpsc::channel();
        let sleeper = thread::spawn({
            let turns = turns.clone();
            move || {
                let mut turn = turns.enter(|| None).expect("it leaves nothing");
                told.recv().expect("it is told");
                turn.waiting()
            }
        });
        while turns.lock().waiting == 0 {
            thread::yield_now();
        }
        assert!(!turn.leave());
        assert!(turns.enter(|| Some(7)).is_none(), "it is the sleeper's turn, awake or not");
        go_on.send(()).expect("it listens");
        assert_eq!(sleeper.join().expect("no panic"), [7]);
    }

    #[test]
    fn a_turn_does_not_work_for_others_for_ever() {
        let turns = Turns::default();
        let mut turn = turns.enter(|| Some(0)).expect("nobody writes");
        for job in 0..TAKEN_ALONG_MAX + 1 {
            assert!(turns.enter(|| Some(job)).is_none());
        }
        assert_eq!(std::iter::from_fn(|| turn.next()).count(), TAKEN_ALONG_MAX);
        assert!(turn.leave());
        assert!(turns.try_enter().is_some());
    }

    #[test]
    fn every_job_is_done_once_and_in_the_order_of_its_thread() {
        const THREADS: usize = 4;
        const EACH: usize = 5000;
        let turns = Arc::new(Turns::default());
        let done = Arc::new(Mutex::new(Vec::new()));
        let write = |done: &Mutex<Vec<(usize, usize)>>, job| done.lock().expect("no panic").push(job);
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (turns, done) = (turns.clone(), done.clone());
                thread::spawn(move || {
                    for number in 0..EACH {
                        let job = (thread, number);
                        // Every third one waits for its turn, as requests do that want no answer.
                        let Some(mut turn) = turns.enter(|| (number % 3 > 0).then_some(job)) else { continue };
                        turn.waiting().into_iter().for_each(|job| write(&done, job));
                        write(&done, job);
                        while let Some(job) = turn.next() {
                            write(&done, job);
                        }
                        let mut is_left = turn.leave();
                        while is_left && let Some(mut turn) = turns.try_enter() {
                            turn.waiting().into_iter().for_each(|job| write(&done, job));
                            is_left = turn.leave();
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        let done = done.lock().expect("no panic");
        assert_eq!(done.len(), THREADS * EACH);
        for thread in 0..THREADS {
            let numbers: Vec<_> = done.iter().filter(|job| job.0 == thread).map(|job| job.1).collect();
            assert!(numbers.iter().copied().eq(0..EACH), "the jobs of thread {thread} are out of order");
        }
    }
}
