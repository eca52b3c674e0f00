//! Which partition of `__consumer_offsets` a group is in.

/// The partition, of so many, that holds the group: Java's hash of the name, made positive. Clients never compute it, but
/// every broker of a cluster must, and the records on the disk lie where it says.
///
/// # Panics
/// Where there are no partitions.
pub fn partition_of(group_id: &str, partition_count: i32) -> i32 {
    let hash = group_id.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    // The one number that has no positive counterpart counts as 0.
    hash.checked_abs().unwrap_or(0) % partition_count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_javas() {
        assert_eq!(partition_of("my-group", i32::MAX), 1_906_497_762);
        assert_eq!(partition_of("my-group", 50), 12);
        assert_eq!(partition_of("", 50), 0);
        assert_eq!(partition_of("polygenelubricants", 50), 0, "its hash is the least of all numbers");
        assert_eq!(partition_of("\u{1f600}", i32::MAX), 0xd83d * 31 + 0xde00, "UTF-16 units are hashed");
    }
}
