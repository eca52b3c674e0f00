//! Where the newest batches of the active segment lie, so that readers at the end of the log cost no file reads.
//!
//! Consumers that keep up ask for the batches written last, and the high watermark that bounds them lies there too.

use std::collections::VecDeque;

use ottla_base::Offset;

use super::Place;

/// How many batches are remembered.
const BATCHES_MAX: usize = 64;

/// The newest batches, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    places: VecDeque<Place>,
}

/// What the tail knows about an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The first batch that ends with the offset or later.
    At(Place),
    /// The offset lies behind the last batch.
    Behind,
    /// It lies before what is remembered.
    Unknown,
}

impl Tail {
    pub fn push(&mut self, place: Place) {
        if self.places.len() == BATCHES_MAX {
            self.places.pop_front();
        }
        self.places.push_back(place);
    }

    pub fn clear(&mut self) {
        self.places = VecDeque::new();
    }

    pub fn find(&self, offset: Offset) -> Found {
        let index = self.places.partition_point(|place| place.last_offset < offset);
        match self.places.get(index) {
            // An earlier batch, now forgotten, could hold an offset before the first one that is remembered.
            Some(first) if index == 0 && offset < first.base_offset && first.position > 0 => Found::Unknown,
            Some(place) => Found::At(*place),
            None if self.places.is_empty() => Found::Unknown,
            None => Found::Behind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_batches_are_found_and_older_ones_are_unknown() {
        let mut tail = Tail::default();
        assert_eq!(tail.find(Offset(0)), Found::Unknown);
        let place = |number: i64| Place {
            base_offset: Offset(number * 10),
            last_offset: Offset(number * 10 + 7),
            position: number as u32 * 100,
            size: 100,
        };
        tail.push(place(0));
        tail.push(place(1));
        let found = [-5, 0, 7, 8, 17, 18].map(|offset| tail.find(Offset(offset)));
        assert_eq!(
            found,
            [
                Found::At(place(0)),
                Found::At(place(0)),
                Found::At(place(0)),
                Found::At(place(1)),
                Found::At(place(1)),
                Found::Behind
            ],
        );
        for number in 2..=BATCHES_MAX as i64 {
            tail.push(place(number));
        }
        assert_eq!(tail.find(Offset(9)), Found::Unknown);
        assert_eq!(tail.find(Offset(10)), Found::At(place(1)));
        tail.clear();
        assert_eq!(tail.find(Offset(10)), Found::Unknown);
    }
}
