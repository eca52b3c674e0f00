//! Time as a value. Whoever decides is told what time it is.

use std::time::Duration;

/// Milliseconds since 1970-01-01 UTC, as records carry them; -1 is "no time".
pub type Timestamp = i64;

/// What time it is, on both clocks a machine may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Time since some fixed start; never goes back. For deadlines.
    pub monotonic: Duration,
    /// Milliseconds since 1970; may jump. For records.
    pub wall_ms: Timestamp,
}

impl Now {
    /// Both clocks at the same count of milliseconds: for tests and simulations.
    pub const fn at_ms(ms: u64) -> Self {
        Self { monotonic: Duration::from_millis(ms), wall_ms: ms as Timestamp }
    }
}
