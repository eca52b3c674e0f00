//! Record batches made by hand, byte by byte, so that these tests do not lean on the code that reads them.

/// What a batch is made of; one record a timestamp.
#[derive(Clone, Debug)]
pub struct Made {
    pub base_offset: i64,
    pub leader_epoch: i32,
    pub attributes: i16,
    pub timestamps: Vec<i64>,
    pub producer: (i64, i16, i32),
    /// How long each record's value is.
    pub value_bytes: usize,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            base_offset: 0,
            leader_epoch: -1,
            attributes: 0,
            timestamps: vec![1000],
            producer: (-1, -1, -1),
            value_bytes: 10,
        }
    }
}

impl Made {
    /// As many records as there are timestamps.
    pub fn at(timestamps: &[i64]) -> Self {
        Self { timestamps: timestamps.to_vec(), ..Self::default() }
    }

    /// `count` records of one time whose batch is about `bytes` long.
    pub fn sized(count: usize, bytes: usize) -> Self {
        Self { timestamps: vec![1000; count], value_bytes: bytes.saturating_sub(61) / count, ..Self::default() }
    }

    pub fn max_timestamp(&self) -> i64 {
        self.timestamps.iter().copied().max().unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let base_timestamp = self.timestamps[0];
        let mut records = Vec::new();
        for (delta, timestamp) in self.timestamps.iter().enumerate() {
            let mut record = vec![0];
            varint(&mut record, timestamp - base_timestamp);
            varint(&mut record, delta as i64);
            varint(&mut record, -1);
            varint(&mut record, self.value_bytes as i64);
            record.resize(record.len() + self.value_bytes, b'v');
            varint(&mut record, 0);
            varint(&mut records, record.len() as i64);
            records.extend(record);
        }
        let count = self.timestamps.len() as i32;
        let mut checked = Vec::new();
        checked.extend(self.attributes.to_be_bytes());
        checked.extend((count - 1).to_be_bytes());
        checked.extend(base_timestamp.to_be_bytes());
        checked.extend(self.max_timestamp().to_be_bytes());
        checked.extend(self.producer.0.to_be_bytes());
        checked.extend(self.producer.1.to_be_bytes());
        checked.extend(self.producer.2.to_be_bytes());
        checked.extend(count.to_be_bytes());
        checked.extend(records);
        let mut batch = Vec::new();
        batch.extend(self.base_offset.to_be_bytes());
        batch.extend((checked.len() as i32 + 9).to_be_bytes());
        batch.extend(self.leader_epoch.to_be_bytes());
        batch.push(2);
        batch.extend(crc32c::crc32c(&checked).to_be_bytes());
        batch.extend(checked);
        batch
    }
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}
