//! Requests that wait for a partition to change ("purgatory").
//!
//! ```text
//!   request: register with each partition it reads --> look --> not enough? --> wait --> look again
//!   partition: changes (append, high watermark) --> wakes whoever is registered, once
//! ```
//!
//! A request registers *before* it looks, so that no change falls between its look and its wait.

use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

/// Registrations of requests that ended meanwhile are swept out when this many have gathered, or twice as many as were left
/// by the last sweep: so a registration costs the same however many there are.
const SWEEP_FROM: usize = 16;

/// One waiting request.
#[derive(Debug, Default)]
pub struct Parked {
    woken: Notify,
}

impl Parked {
    /// A request that is not registered anywhere yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Waits for the first change since the registrations, which are used up by it.
    pub async fn changed(&self) {
        self.woken.notified().await;
    }
}

/// The requests that wait for one partition.
#[derive(Debug, Default)]
pub struct ParkingLot {
    registered: Mutex<Registered>,
}

#[derive(Debug, Default)]
struct Registered {
    requests: Vec<Weak<Parked>>,
    /// How many were left by the last sweep.
    living: usize,
}

impl ParkingLot {
    /// From now on the next change wakes `request`.
    pub fn register(&self, request: &Arc<Parked>) {
        let mut registered = self.registered.lock().expect("nobody panics while holding this lock");
        if registered.requests.len() >= SWEEP_FROM.max(2 * registered.living) {
            registered.requests.retain(|other| other.strong_count() > 0);
            registered.living = registered.requests.len();
        }
        registered.requests.push(Arc::downgrade(request));
    }

    /// Something changed.
    pub fn wake_all(&self) {
        let mut registered = self.registered.lock().expect("nobody panics while holding this lock");
        registered.living = 0;
        for request in registered.requests.drain(..).filter_map(|request| request.upgrade()) {
            request.woken.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_between_registering_and_waiting_is_not_lost() {
        let (lot, request) = (ParkingLot::default(), Parked::new());
        lot.register(&request);
        lot.wake_all();
        request.changed().await;
    }

    #[test]
    fn requests_that_ended_are_swept_out() {
        let (lot, living) = (ParkingLot::default(), Parked::new());
        lot.register(&living);
        for _ in 0..1000 {
            lot.register(&Parked::new());
        }
        assert!(lot.registered.lock().expect("no panic").requests.len() <= 2 * SWEEP_FROM);
    }

    #[test]
    fn sweeps_become_rarer_as_more_requests_live() {
        let lot = ParkingLot::default();
        let living = || lot.registered.lock().expect("no panic").living;
        let mut sweeps = 0;
        let requests: Vec<_> = (0..10_000)
            .map(|_| {
                let (request, before) = (Parked::new(), living());
                lot.register(&request);
                sweeps += usize::from(living() != before);
                request
            })
            .collect();
        assert!(sweeps <= 10, "{sweeps} sweeps for {} requests", requests.len());
        drop(requests);
        for _ in 0..20_000 {
            lot.register(&Parked::new());
        }
        assert!(lot.registered.lock().expect("no panic").requests.len() <= 2 * SWEEP_FROM);
    }
}
