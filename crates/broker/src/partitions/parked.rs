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

/// Registrations of requests that ended meanwhile are swept out when this many have gathered.
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
    parked: Mutex<Vec<Weak<Parked>>>,
}

impl ParkingLot {
    /// From now on the next change wakes `request`.
    pub fn register(&self, request: &Arc<Parked>) {
        let mut parked = self.parked.lock().expect("nobody panics while holding this lock");
        if parked.len() >= SWEEP_FROM {
            parked.retain(|other| other.strong_count() > 0);
        }
        parked.push(Arc::downgrade(request));
    }

    /// Something changed.
    pub fn wake_all(&self) {
        let mut parked = self.parked.lock().expect("nobody panics while holding this lock");
        for request in parked.drain(..).filter_map(|request| request.upgrade()) {
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
        assert!(lot.parked.lock().expect("no panic").len() <= SWEEP_FROM + 1);
    }
}
