//! Sequences by the book, and long random histories against a model that remembers everything.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const ID: ProducerId = ProducerId(7);

fn batch(epoch: i16, base_sequence: i32, count: i32, base_offset: i64) -> ProducerBatch {
    ProducerBatch {
        producer_id: ID,
        producer_epoch: ProducerEpoch(epoch),
        base_sequence,
        base_offset: Offset(base_offset),
        last_offset_delta: count - 1,
        max_timestamp: 1000 + base_offset,
        is_transactional: false,
    }
}

fn transactional(producer_id: i64, base_sequence: i32, base_offset: i64) -> ProducerBatch {
    let producer_id = ProducerId(producer_id);
    ProducerBatch { producer_id, is_transactional: true, ..batch(0, base_sequence, 1, base_offset) }
}

fn marker(producer_id: i64, epoch: i16, offset: i64) -> EndMarker {
    EndMarker {
        producer_id: ProducerId(producer_id),
        producer_epoch: ProducerEpoch(epoch),
        coordinator_epoch: 4,
        offset: Offset(offset),
        timestamp: 5000,
    }
}

/// One record a batch at sequences and offsets 0 to 5, epoch 0.
fn six_batches() -> Producers {
    let mut producers = Producers::default();
    for sequence in 0..6 {
        let next = batch(0, sequence, 1, i64::from(sequence));
        assert_eq!(producers.check(&next), Ok(Verdict::Append));
        producers.update(&next);
    }
    producers
}

fn duplicate(base_offset: i64, last_offset: i64) -> Result<Verdict, SequenceError> {
    let (base_offset, timestamp) = (Offset(base_offset), 1000 + base_offset);
    Ok(Verdict::Duplicate { base_offset, last_offset: Offset(last_offset), timestamp })
}

#[test]
fn the_last_five_batches_are_recognised_and_gaps_refused() {
    let mut producers = six_batches();
    for sequence in 1..6 {
        assert_eq!(producers.check(&batch(0, sequence, 1, 0)), duplicate(sequence.into(), sequence.into()));
    }
    let out_of_order = |found| Err(SequenceError::OutOfOrder { expected: 6, found });
    assert_eq!(producers.check(&batch(0, 0, 1, 0)), out_of_order(0), "the sixth last is not remembered");
    assert_eq!(producers.check(&batch(0, 4, 2, 0)), out_of_order(4), "half a duplicate is none");
    assert_eq!(producers.check(&batch(0, 7, 1, 0)), out_of_order(7));
    assert_eq!(producers.check(&batch(0, 6, 3, 0)), Ok(Verdict::Append));
    producers.update(&batch(0, 6, 3, 6));
    assert_eq!(producers.check(&batch(0, 6, 3, 0)), duplicate(6, 8));
}

#[test]
fn a_new_epoch_begins_at_zero_and_fences_the_old() {
    let mut producers = six_batches();
    assert_eq!(producers.check(&batch(1, 3, 1, 0)), Err(SequenceError::OutOfOrder { expected: 0, found: 3 }));
    assert_eq!(producers.check(&batch(1, 0, 1, 0)), Ok(Verdict::Append));
    producers.update(&batch(1, 0, 1, 6));
    let fenced = SequenceError::InvalidEpoch { current: ProducerEpoch(1), found: ProducerEpoch(0) };
    assert_eq!(producers.check(&batch(0, 6, 1, 0)), Err(fenced));
    assert_eq!(producers.check(&batch(1, 1, 1, 0)), Ok(Verdict::Append));
}

#[test]
fn an_unknown_producer_is_taken_at_its_word_and_sequences_wrap() {
    let mut producers = Producers::default();
    let across = batch(0, i32::MAX - 1, 4, 100);
    assert_eq!(producers.check(&across), Ok(Verdict::Append));
    assert_eq!(across.last_sequence(), 1);
    producers.update(&across);
    assert_eq!(producers.check(&across), duplicate(100, 103));
    assert_eq!(producers.check(&batch(0, 2, 1, 0)), Ok(Verdict::Append));
    producers.update(&batch(0, 2, i32::MAX - 1, 104));
    assert_eq!(producers.check(&batch(0, 0, 1, 0)), Ok(Verdict::Append), "after the largest sequence comes 0");
}

#[test]
fn an_id_without_an_epoch_is_stored_but_not_protected() {
    let mut producers = Producers::default();
    for _ in 0..2 {
        assert_eq!(producers.check(&batch(-1, 5, 1, 0)), Ok(Verdict::Append));
        producers.update(&batch(-1, 5, 1, 0));
    }
    producers.update(&ProducerBatch { producer_id: ProducerId::NONE, ..batch(0, 0, 1, 0) });
    assert_eq!(producers.count(), 0);
}

#[test]
fn open_transactions_and_unreplicated_markers_hold_the_stable_offset() {
    let mut producers = Producers::default();
    assert_eq!(producers.first_unstable_offset(), None);
    producers.update(&transactional(1, 0, 10));
    producers.update(&transactional(2, 0, 11));
    producers.update(&transactional(1, 1, 12));
    assert_eq!(producers.first_unstable_offset(), Some(Offset(10)));
    let plain = ProducerBatch { is_transactional: false, ..transactional(1, 2, 13) };
    assert_eq!(producers.check(&plain), Err(SequenceError::NotTransactional { first_offset: Offset(10) }));

    let ended = producers.end_transaction(&marker(1, 0, 13)).unwrap();
    assert_eq!((ended.first_offset, ended.last_offset), (Offset(10), Offset(13)));
    assert_eq!(ended.last_stable_offset, Offset(11), "the other transaction is still open");
    assert_eq!(producers.end_transaction(&marker(1, 0, 14)), None, "nothing was open");
    assert_eq!(producers.first_unstable_offset(), Some(Offset(10)), "the marker is not replicated");
    producers.on_high_watermark(Offset(13));
    assert_eq!(producers.first_unstable_offset(), Some(Offset(10)));
    producers.on_high_watermark(Offset(14));
    assert_eq!(producers.first_unstable_offset(), Some(Offset(11)));

    let ended = producers.end_transaction(&marker(2, 1, 15)).unwrap();
    assert_eq!(ended.last_stable_offset, Offset(16));
    producers.remove_before(Offset(20));
    assert_eq!(producers.first_unstable_offset(), None);
    assert_eq!(
        producers.check(&ProducerBatch { producer_epoch: ProducerEpoch(1), ..transactional(2, 1, 0) }),
        Err(SequenceError::OutOfOrder { expected: 0, found: 1 }),
        "the marker raised the epoch, so the producer begins anew"
    );
}

#[test]
fn idle_producers_expire_unless_a_transaction_is_open() {
    let mut producers = Producers::default();
    producers.update(&batch(0, 0, 1, 0));
    producers.update(&transactional(8, 0, 1));
    assert_eq!(producers.expire(1099, 100), 0);
    assert_eq!(producers.expire(1100, 100), 1);
    assert_eq!(producers.expire(i64::MAX, 100), 0);
    assert_eq!(producers.entries().next().map(|entry| entry.producer_id), Some(ProducerId(8)));
}

#[test]
fn too_many_producers_push_out_those_that_wrote_longest_ago() {
    let mut producers = Producers::default();
    producers.update(&transactional(-1, 0, 0));
    producers.update(&transactional(0, 0, 0));
    for id in 1..=PRODUCERS_MAX as i64 {
        producers.update(&ProducerBatch { producer_id: ProducerId(id), ..batch(0, 0, 1, id) });
        assert!(producers.count() <= PRODUCERS_MAX);
    }
    let ids: Vec<i64> = producers.entries().map(|entry| entry.producer_id.0).collect();
    assert_eq!(ids[0], 0, "an open transaction is never forgotten");
    assert_eq!(ids[1], (PRODUCERS_MAX / FORGOTTEN_ONE_IN) as i64 + 1);
    assert_eq!(ids.last(), Some(&(PRODUCERS_MAX as i64)));
}

#[test]
fn partitions_that_remember_much_leave_each_other_a_few() {
    let count = ProducerCount::default();
    let fill = |producers: &mut Producers| {
        for id in 0..15_000 {
            producers.update(&ProducerBatch { producer_id: ProducerId(id), ..batch(0, 0, 1, id) });
        }
    };
    let mut all: Vec<Producers> = (0..12).map(|_| Producers::new(count.clone())).collect();
    all.iter_mut().for_each(fill);
    assert_eq!(all.iter().map(Producers::count).sum::<usize>(), count.get());
    let most = PRODUCERS_OF_ALL_MAX + 12 * PRODUCERS_OF_EACH;
    assert!((PRODUCERS_OF_ALL_MAX - 10_000..most).contains(&count.get()), "{}", count.get());
    let fewest = all.iter().map(Producers::count).min().unwrap();
    assert!(fewest > PRODUCERS_OF_EACH / 2, "{fewest}");

    // As much again comes from snapshots.
    let entries: Vec<_> = all[0].entries().collect();
    let later: Vec<_> = (0..12).map(|_| Producers::from_snapshot(entries.iter().copied(), count.clone())).collect();
    assert!(count.get() < most + 12 * PRODUCERS_OF_EACH, "{}", count.get());
    drop((all, later));
    assert_eq!(count.get(), 0);
}

/// What the model knows of a producer: everything it ever wrote in its epoch.
type History = (i16, Vec<(i32, i32, i64)>);

proptest! {
    /// Each step: producer, epoch, how far from the expected sequence, records, and whether to restart from a snapshot.
    #[test]
    fn verdicts_agree_with_a_model_that_forgets_nothing(
        steps in prop::collection::vec((0..3i64, 0..3i16, -8..3i32, 1..4i32, prop::bool::weighted(0.03)), 1..150),
        first_sequence in prop::sample::select(vec![0, i32::MAX - 20]),
    ) {
        let mut producers = Producers::default();
        let mut model: HashMap<i64, History> = HashMap::new();
        // How many batches of each producer a duplicate is looked for among.
        let mut window: HashMap<i64, usize> = HashMap::new();
        let mut end_offset = 0;
        for (id, epoch, off_by, count, restart) in steps {
            let known = model.get(&id).filter(|known| known.0 == epoch);
            let expected = match known.and_then(|known| known.1.last()) {
                Some((_, last, _)) => last.wrapping_add(1) & i32::MAX,
                None if model.contains_key(&id) => 0,
                None => first_sequence,
            };
            let base_sequence = expected.wrapping_add(off_by) & i32::MAX;
            let batch = ProducerBatch { producer_id: ProducerId(id), ..batch(epoch, base_sequence, count, end_offset) };
            let last_sequence = base_sequence.wrapping_add(count - 1) & i32::MAX;
            let remembered = window.get(&id).copied().unwrap_or(0);
            let twin = known.and_then(|known| {
                let from = known.1.len().saturating_sub(remembered);
                known.1[from..].iter().find(|twin| (twin.0, twin.1) == (base_sequence, last_sequence))
            });
            let verdict = producers.check(&batch);
            match (twin, model.get(&id).map(|known| known.0)) {
                (Some(twin), _) => prop_assert_eq!(verdict, duplicate(twin.2, twin.2 + i64::from(count) - 1)),
                (None, Some(current)) if epoch < current => prop_assert_eq!(
                    verdict,
                    Err(SequenceError::InvalidEpoch { current: ProducerEpoch(current), found: ProducerEpoch(epoch) })
                ),
                (None, Some(_)) if base_sequence != expected => {
                    prop_assert_eq!(verdict, Err(SequenceError::OutOfOrder { expected, found: base_sequence }));
                }
                _ => {
                    prop_assert_eq!(verdict, Ok(Verdict::Append));
                    producers.update(&batch);
                    let history = model.entry(id).or_insert_with(|| (epoch, Vec::new()));
                    if history.0 != epoch {
                        *history = (epoch, Vec::new());
                    }
                    history.1.push((base_sequence, last_sequence, end_offset));
                    let remembered = if history.1.len() == 1 { 1 } else { (remembered + 1).min(5) };
                    window.insert(id, remembered);
                    end_offset += i64::from(count);
                }
            }
            if restart {
                let entries: Vec<_> = producers.entries().collect();
                producers = Producers::from_snapshot(entries.iter().copied(), ProducerCount::default());
                prop_assert_eq!(producers.entries().collect::<Vec<_>>(), entries);
                window.values_mut().for_each(|remembered| *remembered = 1);
            }
            producers.check_invariants();
        }
    }
}

#[test]
fn producers_are_counted_with_one_log_at_a_time() {
    let (alone, all) = (ProducerCount::default(), ProducerCount::default());
    let mut producers = Producers::new(alone.clone());
    producers.update(&batch(0, 0, 1, 0));
    assert_eq!((alone.get(), all.get()), (1, 0));
    let before = producers.count_with(all.clone());
    assert_eq!((alone.get(), all.get()), (0, 1));
    drop(producers.count_with(before));
    assert_eq!((alone.get(), all.get()), (1, 0));
}
