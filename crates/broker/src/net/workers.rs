//! The threads that serve connections, each with a reactor of its own.
//!
//! ```text
//!   listener --accepts--> worker with the fewest connections --> the connection stays there until it ends
//! ```
//!
//! A request is read, handled and answered by one thread, without another one being woken on the way: that costs more than
//! the whole of a small request. A write that blocks holds up the connections of its own worker only.
//! What takes long waits for [`LongTurns`].

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::long_turns::LongTurns;

/// Workers, where the machine has fewer than half as many cores: a write to a log may block its thread.
const FEWEST: usize = 4;

/// All workers.
pub struct Workers {
    workers: Vec<Worker>,
}

struct Worker {
    handle: Handle,
    connections: Arc<AtomicUsize>,
    long_turns: LongTurns,
    /// Ends the thread when it is dropped.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// Starts twice as many as there are cores, at least four.
    pub fn start() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = (0..(2 * cores).max(FEWEST)).map(Worker::start).collect::<io::Result<_>>()?;
        Ok(Self { workers })
    }

    /// Lets the worker with the fewest connections run `connection`, as one of `tasks`.
    pub fn spawn<F>(&self, tasks: &mut JoinSet<()>, connection: impl FnOnce(LongTurns) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let by_load = |worker: &&Worker| worker.connections.load(Ordering::Relaxed);
        let worker = self.workers.iter().min_by_key(by_load).expect("there is at least one worker");
        worker.connections.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(worker.connections.clone());
        let connection = connection(worker.long_turns.clone());
        let task = async move {
            let _counted = counted;
            connection.await;
        };
        tasks.spawn_on(task, &worker.handle);
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::Builder::new().name(format!("ottla-worker-{number}"));
        // The reactor lives and ends in its own thread: where there is no thread for it, none may be left over here, as this one
        // has a reactor too.
        let thread = thread.spawn(move || match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let _ = tell.send(Ok(runtime.handle().clone()));
                // It ends by a message or by the sender being dropped, which is the same.
                let _ = runtime.block_on(stopped);
            }
            Err(error) => drop(tell.send(Err(error))),
        })?;
        let handle = told.recv().expect("the thread tells at once")?;
        Ok(Self {
            handle,
            connections: Arc::default(),
            long_turns: LongTurns::default(),
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a worker catches the panics of its tasks");
        }
    }
}

/// A connection that counts for its worker until it ends.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
