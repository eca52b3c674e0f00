//! Sockets in, frames out.

mod address_rates;
pub mod answer;
pub mod answer_memory;
mod answer_queue;
pub mod budgets;
pub mod connection;
pub mod connection_quotas;
pub mod connection_rate;
pub mod frames;
mod hold_back;
pub mod host_names;
pub mod listener;
pub mod long_turns;
pub mod memory;
mod slow_sending;
pub mod transport;
pub mod workers;

#[cfg(test)]
mod tests;
