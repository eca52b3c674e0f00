//! This broker's place in the cluster: what it registers with, and the epoch of its registration.

use std::sync::atomic::{AtomicI64, Ordering};

use ottla_base::{BrokerEpoch, Uuid};
use ottla_metadata::controller::{Answer, Command, FailDirectories, RegisterBroker, UnfenceBroker};

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

    /// Registers again, after somebody had this broker forgotten, with the directories that are `online`, and lets it lead. That one
    /// has failed is told for the registration that is known by then, by whoever looks after them: one that fails before this one is
    /// known, and after it was asked for, is told here, before anything in it is led.
    ///
    /// # Errors
    /// Why the controller would not.
    pub async fn renew(&self, place: &Place, online: impl Fn() -> Vec<Uuid>) -> Result<(), String> {
        let stopped = |error: crate::controller::Unanswered| error.to_string();
        let (id, log_dirs) = (self.command.id, online());
        let register = RegisterBroker { log_dirs: log_dirs.clone(), ..self.command.clone() };
        let command = Command::RegisterBroker(register);
        let epoch = epoch_of(place.ask(command).await.map_err(stopped)?)?;
        self.epoch.store(epoch.0, Ordering::Release);
        let still_online = online();
        let directories: Vec<Uuid> =
            log_dirs.into_iter().filter(|directory| !still_online.contains(directory)).collect();
        if !directories.is_empty() {
            let command = Command::FailDirectories(FailDirectories { id, epoch, directories });
            match place.ask(command).await.map_err(stopped)? {
                Answer::FailDirectories(Ok(())) => {}
                other => return Err(format!("{other:?}")),
            }
        }
        let command = Command::UnfenceBroker(UnfenceBroker { id, epoch });
        match place.ask(command).await.map_err(stopped)? {
            Answer::UnfenceBroker(Ok(())) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use ottla_base::BrokerId;

    use super::*;
    use crate::controller::Controller;

    /// What is asked for when a broker registers again, and at the first look and the second one these directories are online.
    async fn asked_for(looks: [&[u128]; 2]) -> Vec<String> {
        let told = |command: &Command| match command {
            Command::RegisterBroker(register) => {
                (format!("register {:?}", ids(&register.log_dirs)), Answer::RegisterBroker(Ok(BrokerEpoch(5))))
            }
            Command::FailDirectories(FailDirectories { id, epoch, directories }) => {
                (format!("{id} at {epoch} fails {:?}", ids(directories)), Answer::FailDirectories(Ok(())))
            }
            Command::UnfenceBroker(UnfenceBroker { id, epoch }) => {
                (format!("{id} at {epoch} leads"), Answer::UnfenceBroker(Ok(())))
            }
            other => panic!("{other:?}"),
        };
        let asked = std::sync::Arc::new(Mutex::new(Vec::new()));
        let noted = std::sync::Arc::clone(&asked);
        let controller = Controller::answered_by(move |command| {
            let (command, answer) = told(command);
            noted.lock().expect("no panic").push(command);
            answer
        });
        let place = controller.place(1, 1).expect("nobody else asks");
        let looks = Mutex::new(looks.into_iter());
        let look = || looks.lock().expect("no panic").next().expect("two looks").iter().copied().map(Uuid).collect();
        let registration = Registration::new(command(), BrokerEpoch(3));
        registration.renew(&place, look).await.expect("it is answered");
        assert_eq!(registration.epoch(), BrokerEpoch(5));
        asked.lock().expect("no panic").clone()
    }

    fn ids(directories: &[Uuid]) -> Vec<u128> {
        directories.iter().map(|directory| directory.0).collect()
    }

    fn command() -> RegisterBroker {
        RegisterBroker {
            id: BrokerId(1),
            cluster_id: "c".to_owned(),
            incarnation_id: Uuid(9),
            endpoints: Vec::new(),
            features: std::collections::BTreeMap::new(),
            rack: None,
            log_dirs: vec![Uuid(1)],
            clean_epoch: None,
        }
    }

    #[tokio::test]
    async fn a_directory_that_fails_while_the_broker_registers_again_is_told() {
        assert_eq!(asked_for([&[1, 2], &[1, 2]]).await, ["register [1, 2]", "1 at 5 leads"]);
        assert_eq!(asked_for([&[1, 2], &[1]]).await, ["register [1, 2]", "1 at 5 fails [2]", "1 at 5 leads"]);
    }
}
