//! Counts what a thread allocates, so that a test can say how much memory a decoder took.
//!
//! An allocator cannot be written without `unsafe`: both functions hand their arguments to the system's allocator as
//! they came.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counters neither allocate nor unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.get().saturating_add(layout.size());
        NOW.set(now);
        PEAK.set(PEAK.get().max(now));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.set(NOW.get().saturating_sub(layout.size()));
        // SAFETY: `pointer` came from `alloc` above, and so from the system's allocator, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// How many bytes `work` had allocated at once, at most, in this thread.
pub fn peak_of(work: impl FnOnce()) -> usize {
    let before = NOW.get();
    PEAK.set(before);
    work();
    PEAK.get() - before
}

#[test]
fn the_peak_is_that_of_the_work_alone() {
    let kept: Vec<u8> = Vec::with_capacity(10_000);
    assert_eq!(peak_of(|| ()), 0);
    let peak = peak_of(|| {
        drop(Vec::<u8>::with_capacity(3000));
        drop(Vec::<u8>::with_capacity(5000));
    });
    assert_eq!(peak, 5000);
    drop(kept);
}
