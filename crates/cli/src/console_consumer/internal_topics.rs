//! The records of Kafka's own topics as JSON, as its formatters for them print it: one object a record, with nothing between.

use ottla_protocol::records::Record;

use crate::internal_records::{CoordinatorRecord, CoordinatorRecords, Unreadable};

/// A formatter, what it reads, and what of that it shows.
struct Known {
    class: &'static str,
    group: &'static str,
    shows: fn(&str) -> bool,
}

const FORMATTERS: [Known; 5] = [
    Known {
        class: "OffsetsMessageFormatter",
        group: "offsets",
        shows: |name| matches!(name, "OffsetCommit" | "LegacyOffsetCommit"),
    },
    Known { class: "GroupMetadataMessageFormatter", group: "offsets", shows: |name| name == "GroupMetadata" },
    Known { class: "ShareGroupMessageFormatter", group: "offsets", shows: |name| name.starts_with("ShareGroup") },
    Known { class: "TransactionLogMessageFormatter", group: "transaction", shows: |_| true },
    Known { class: "group.share.ShareGroupStateMessageFormatter", group: "share", shows: |_| true },
];

/// A formatter for one of these topics.
#[derive(Clone, Debug)]
pub struct InternalTopic {
    records: CoordinatorRecords,
    shows: fn(&str) -> bool,
}

impl InternalTopic {
    /// By the name of its class, as far as that is below the package of Kafka's formatters.
    pub fn of_class(class: &str) -> Option<Self> {
        let known = FORMATTERS.iter().find(|known| known.class == class)?;
        Some(Self { records: CoordinatorRecords::new(known.group), shows: known.shows })
    }

    /// Prints a record, if it is one of those that are shown.
    ///
    /// # Errors
    /// It cannot be read; in Kafka's words.
    pub fn format(&self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let Some(key) = record.key else { return Ok(()) };
        match self.records.read(key, record.value) {
            Ok(read) => {
                if (self.shows)(&read.name) {
                    out.extend_from_slice(object(&read).as_bytes());
                }
                Ok(())
            }
            Err(Unreadable::UnknownType(_)) => Ok(()),
            Err(Unreadable::Because(reason)) => {
                Err(format!("Could not read record at offset {} due to: {reason}", record.offset))
            }
        }
    }
}

fn object(record: &CoordinatorRecord) -> String {
    let value = match &record.value {
        Some((version, fields)) => format!("{{\"version\":{version},\"data\":{fields}}}"),
        None => "null".to_owned(),
    };
    format!("{{\"key\":{{\"type\":{},\"data\":{}}},\"value\":{value}}}", record.kind, record.key)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use ottla_base::Offset;
    use ottla_protocol::records::{Batch, BatchBuilder, RecordIter};

    use super::*;

    /// A key and a value.
    type KeyValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

    const OFFSET_KEY: &[u8] = b"\0\x01\0\x01g\0\x01t\0\0\0\x02";
    const GROUP_KEY: &[u8] = b"\0\x02\0\x01g";
    const TRANSACTION_KEY: &[u8] = b"\0\0\0\x01x";
    const SHARE_KEY: &[u8] = b"\0\0\0\x01g\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0\x01";

    fn check(class: &str, records: &[KeyValue<'_>], expected: &Expect) {
        let formatter = InternalTopic::of_class(class).unwrap();
        let mut builder = BatchBuilder::new().base_offset(Offset(7));
        for (key, value) in records {
            builder.push(0, *key, *value, &[]);
        }
        let bytes = builder.build().unwrap();
        let (batch, _) = Batch::parse(&bytes).unwrap();
        let mut out = Vec::new();
        for record in RecordIter::new(batch.header(), batch.records()) {
            let before = out.len();
            if let Err(message) = formatter.format(&record.unwrap(), &mut out) {
                out.extend_from_slice(format!("!{message}").as_bytes());
            }
            out.extend_from_slice(if out.len() == before { &b"nothing\n"[..] } else { b"\n" });
        }
        expected.assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn offsets_and_groups_are_shown_apart() {
        let offset = [&[0, 3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, b'm'][..], &[0; 8]].concat();
        let member =
            [&b"\0\x01m\xff\xff\0\x01c\0\x01h\0\0\0\x01\0\0\0\x02"[..], b"\0\0\0\x01\xff", b"\0\0\0\0"].concat();
        let group = [&b"\0\x03\0\x08consumer\0\0\0\x01\0\x01r\xff\xff"[..], &[0; 8], &[0, 0, 0, 1], &member].concat();
        let records: [KeyValue<'_>; 6] = [
            (Some(OFFSET_KEY), Some(&offset)),
            (Some(OFFSET_KEY), None),
            (Some(GROUP_KEY), Some(&group)),
            (Some(GROUP_KEY), None),
            (None, Some(b"no key")),
            (Some(b"\0\x7f"), None),
        ];
        check(
            "OffsetsMessageFormatter",
            &records,
            &expect![[r#"
                {"key":{"type":1,"data":{"group":"g","topic":"t","partition":2}},"value":{"version":3,"data":{"offset":9,"leaderEpoch":1,"metadata":"m","commitTimestamp":0}}}
                {"key":{"type":1,"data":{"group":"g","topic":"t","partition":2}},"value":null}
                nothing
                nothing
                nothing
                nothing
            "#]],
        );
        check(
            "GroupMetadataMessageFormatter",
            &records,
            &expect![[r#"
                nothing
                nothing
                {"key":{"type":2,"data":{"group":"g"}},"value":{"version":3,"data":{"protocolType":"consumer","generation":1,"protocol":"r","leader":null,"currentStateTimestamp":0,"members":[{"memberId":"m","groupInstanceId":null,"clientId":"c","clientHost":"h","rebalanceTimeout":1,"sessionTimeout":2,"subscription":"/w==","assignment":""}]}}}
                {"key":{"type":2,"data":{"group":"g"}},"value":null}
                nothing
                nothing
            "#]],
        );
        check("ShareGroupMessageFormatter", &records[..1], &expect![["nothing\n"]]);
    }

    #[test]
    fn a_record_that_cannot_be_read_is_told_with_its_place() {
        check(
            "OffsetsMessageFormatter",
            &[(Some(b"\0"), None), (Some(OFFSET_KEY), Some(b"\0\x03\0"))],
            &expect![[r#"
                !Could not read record at offset 7 due to: Could not read version from key's buffer.
                !Could not read record at offset 8 due to: Could not read record with version 3 from value's buffer due to: the bytes end inside a field.
            "#]],
        );
    }

    #[test]
    fn transactions_and_the_state_of_share_groups_have_their_own() {
        check(
            "TransactionLogMessageFormatter",
            &[(Some(TRANSACTION_KEY), None)],
            &expect![[r#"
                {"key":{"type":0,"data":{"transactionalId":"x"}},"value":null}
            "#]],
        );
        check(
            "group.share.ShareGroupStateMessageFormatter",
            &[(Some(SHARE_KEY), None)],
            &expect![[r#"
                {"key":{"type":0,"data":{"groupId":"g","topicId":"AAAAAAAAAAAAAAAAAAAABQ","partition":1}},"value":null}
            "#]],
        );
        assert!(InternalTopic::of_class("DefaultMessageFormatter").is_none());
    }
}
