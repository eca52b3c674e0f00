//! The shape of a machine whose state follows from a log of records, after Kafka's coordinators.
//!
//! ```text
//!   input --decide(&self)--> records  --append--> replay(&mut self), once committed
//!                            notes    ----------> note(&mut self): soft state, not in the log
//!                            effects  ----------> performed by the host after the records are committed
//! ```

use crate::{Now, Offset};

/// What a decision asks for.
pub struct Outcome<S: Shard + ?Sized> {
    /// To be appended as one unit, then replayed in order.
    pub records: Vec<S::Record>,
    /// Changes of the soft state beside the records.
    pub notes: Vec<S::Note>,
    /// What the host does once the records are committed.
    pub effects: Vec<S::Effect>,
}

/// Deciding reads the state, replaying changes it. Nothing else does either.
pub trait Shard {
    /// A request, the passing of time, or a new fact of the cluster.
    type Input;
    /// What is written to the log.
    type Record;
    /// A change of soft state.
    type Note;
    /// What the host must do, as data.
    type Effect;

    /// Decides what `input` leads to. Changes nothing.
    fn decide(&self, now: Now, input: Self::Input) -> Outcome<Self>;
    /// Takes a record of the log into the state. Refuses nothing.
    fn replay(&mut self, at: Offset, record: &Self::Record);
    /// Takes a note into the soft state.
    fn note(&mut self, note: Self::Note);
    /// When this machine next wants to hear of the time, if ever.
    fn next_deadline(&self) -> Option<Now>;
    /// Panics where the state contradicts itself. Run after every step in tests and simulations.
    fn check(&self);
}

impl<S: Shard> Default for Outcome<S> {
    fn default() -> Self {
        Self { records: Vec::new(), notes: Vec::new(), effects: Vec::new() }
    }
}
