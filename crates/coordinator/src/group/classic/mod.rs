//! The classic group protocol: members meet in a barrier, the leader assigns, all go on (KIP-62, 134, 345, 389, 394, 814).
//!
//! ```text
//!                     first member joins                all have joined, or the time is up
//!            Empty -------------------> PreparingRebalance -------------------> CompletingRebalance
//!              ^                          |     ^      ^                            |         |
//!              |     nobody is left       |     |      |  a member joins, leaves,   |         | the leader syncs:
//!              +--------------------------+     |      +----------- is lost --------+         | a record is written
//!                                               |                                             v
//!                                               +----------- the same, or it is the leader - Stable
//! ```
//!
//! A JoinGroup waits in PreparingRebalance, a SyncGroup in CompletingRebalance. There is no state Dead: a group that is
//! gone is not there.

mod check;
mod draft;
pub mod heartbeat;
pub mod join_group;
pub mod leave_group;
mod members;
mod pending_joins;
mod protocols;
mod rebalance;
pub mod state;
mod static_member;
pub mod sync_group;
mod timers;

pub(super) use draft::Draft;
