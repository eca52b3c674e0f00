//! For how long answers are held back, to leave together with that to the next request.
//!
//! Time is counted as that in which requests were handled: between two that are there already there is no other.

use std::time::Duration;

/// Answers are held back for no longer than this, and the one request that is being handled then.
const HELD_BACK: Duration = Duration::from_micros(500);
/// Where a request took longer, so many answers leave at once, its own among them: the next requests may take as long.
const AT_ONCE: u32 = 8;

/// Whether the answers of one connection may be held back.
#[derive(Debug, Default)]
pub struct HoldBack {
    /// How long the first answer that is held back has waited.
    waited: Duration,
    at_once: u32,
}

impl HoldBack {
    /// A request took so long; where nothing was queued, its answer is the first.
    pub fn took(&mut self, time: Duration, is_first: bool) {
        self.waited = if is_first { Duration::ZERO } else { self.waited + time };
        self.at_once = if time > HELD_BACK { AT_ONCE } else { self.at_once.saturating_sub(1) };
    }

    /// Whether the answer to the last request, and those before it, may wait for the next.
    pub fn may(&self) -> bool {
        self.at_once == 0 && self.waited < HELD_BACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_micros(50);

    #[test]
    fn the_first_answer_waits_for_half_a_millisecond() {
        let mut hold_back = HoldBack::default();
        // That it took time to handle does not count: it waits from then on.
        hold_back.took(HELD_BACK, true);
        for _ in 0..HELD_BACK.as_micros() / QUICK.as_micros() {
            assert!(hold_back.may());
            hold_back.took(QUICK, false);
        }
        assert!(!hold_back.may());
        hold_back.took(QUICK, true);
        assert!(hold_back.may());
    }

    #[test]
    fn behind_a_slow_request_answers_leave_at_once_for_a_while() {
        let mut hold_back = HoldBack::default();
        hold_back.took(HELD_BACK + Duration::from_nanos(1), true);
        for _ in 0..AT_ONCE {
            assert!(!hold_back.may());
            hold_back.took(QUICK, true);
        }
        assert!(hold_back.may());
    }
}
