//! This broker's place in the cluster: what it registers with, and the epoch of its registration.

use std::sync::atomic::{AtomicI64, Ordering};

use ottla_base::{BrokerEpoch, Uuid};
use ottla_metadata::controller::{Answer, Command, RegisterBroker, UnfenceBroker};

use crate::controller::{Place, epoch_of};

/// A registration that holds.
#[derive(Debug)]
pub struct Registration {
    command: RegisterBroker,
    epoch: AtomicI64,
}

impl Registration {
    /// The one that `command` was answered with.
    pub fn new(command: RegisterBroker, epoch: BrokerEpoch) -> Self {
        Self { command, epoch: AtomicI64::new(epoch.0) }
    }

    /// Its epoch.
    pub fn epoch(&self) -> BrokerEpoch {
        BrokerEpoch(self.epoch.load(Ordering::Acquire))
    }

    /// Registers again, after somebody had this broker forgotten, with the directories that are online, and lets it lead.
    ///
    /// # Errors
    /// Why the controller would not.
    pub async fn renew(&self, place: &Place, log_dirs: Vec<Uuid>) -> Result<(), String> {
        let stopped = |error: crate::controller::Unanswered| error.to_string();
        let command = Command::RegisterBroker(RegisterBroker { log_dirs, ..self.command.clone() });
        let epoch = epoch_of(place.ask(command).await.map_err(stopped)?)?;
        self.epoch.store(epoch.0, Ordering::Release);
        let command = Command::UnfenceBroker(UnfenceBroker { id: self.command.id, epoch });
        match place.ask(command).await.map_err(stopped)? {
            Answer::UnfenceBroker(Ok(())) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }
}
