//! Reads the partitions it is given, from the offsets it is given, and knows how far it has shown them.
//!
//! While the records of one answer are looked at, the next one is already on its way.
//!
//! ```text
//! Earliest, Latest -- ListOffsets --> At(offset) -- Fetch --> At(after the last batch)
//!        ^                                |
//!        +------- OFFSET_OUT_OF_RANGE ----+
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use ottla_base::{TopicPartition, Uuid};
use ottla_protocol::messages::fetch_request::{FetchRequest, Partition as FetchPartition, Topic as FetchTopic};
use ottla_protocol::messages::fetch_response::{FetchResponse, Partition as FetchedPartition};
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsRequest, Partition as ListedPartition, Topic as ListedTopic,
};
use ottla_protocol::messages::list_offsets_response::ListOffsetsResponse;
use ottla_protocol::records::control::ControlType;
use ottla_protocol::records::{Batch, Batches, Compression, Record, RecordIter, TimestampType, compression};
use ottla_protocol::{ApiKey, ErrorCode, Records, Str};

use super::Error;
use super::by_topic::by_topic;
use super::cluster::{Cluster, TopicDescription, Topics};
use super::connection::Answer;
use super::group_offsets::{Committed, Offsets};
use super::offsets::{EARLIEST, LATEST};
use crate::java_order::{DEFAULT_CAPACITY, hash_of_partition, sort_as_in_java};

/// The last Fetch version that names topics; later ones have their ids.
const LAST_FETCH_BY_NAME: i16 = 12;
/// No batch is unpacked to more.
const LARGEST_BATCH_BYTES: usize = 256 * 1024 * 1024;
/// "No fetch session": every request says all (KIP-227).
const NO_SESSION_EPOCH: i32 = -1;

/// How to fetch.
#[derive(Clone, Debug)]
pub struct FetcherOptions {
    /// How long a broker may wait for records.
    pub max_wait: Duration,
    /// For how many bytes it waits.
    pub min_bytes: i32,
    /// The most it gives at once, of all partitions.
    pub max_bytes: i32,
    /// The most it gives of one.
    pub max_partition_bytes: i32,
    /// What becomes of records of unfinished and aborted transactions.
    pub isolation_level: IsolationLevel,
    /// Where to go on when there is nothing at an offset.
    pub reset: OffsetReset,
    /// How much longer than it may wait a broker gets to answer.
    pub answer_grace: Duration,
}

/// What a reader sees of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsolationLevel {
    /// Everything at once.
    ReadUncommitted,
    /// Only what was committed, when it is.
    ReadCommitted,
}

/// An end of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// The first record there is.
    Earliest,
    /// What comes from now on.
    Latest,
    /// The first record that is no older than this; what comes from now on, where there is none.
    Within(Duration),
    /// There is none: an error.
    Nowhere,
}

/// Where to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// At an end of the partition, wherever that is.
    End(OffsetReset),
    /// At this offset.
    At(i64),
}

/// A record, and where it is from.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The epoch of the leader that wrote it.
    pub leader_epoch: i32,
    /// Whose clock its timestamp is of.
    pub timestamp_type: TimestampType,
    /// The record.
    pub record: Record<'a>,
}

/// Reads partitions.
#[derive(Debug)]
pub struct Fetcher {
    cluster: Cluster,
    options: FetcherOptions,
    partitions: Vec<Assigned>,
    /// Where among them each is.
    places: Places,
    /// Which brokers owe an answer, and for which partitions, at which offsets.
    asked: BTreeMap<i32, Vec<(usize, i64)>>,
    leaders_are_stale: bool,
}

/// The places of partitions, by topic and number.
type Places = BTreeMap<String, BTreeMap<i32, usize>>;

/// A partition of an answer: the place under which it is known here, and from which offset on it was asked for.
struct Fetched<'a> {
    place: usize,
    from: i64,
    partition: FetchedPartition<'a>,
}

/// A partition that is read.
#[derive(Debug)]
struct Assigned {
    topic: String,
    id: Uuid,
    index: i32,
    leader: Option<i32>,
    /// What is to be asked for next.
    position: Position,
    /// What is to be shown next, once that is known.
    shown: Option<Committed>,
}

impl Fetcher {
    /// A fetcher that reads nothing yet.
    pub fn new(cluster: Cluster, options: FetcherOptions) -> Self {
        Self {
            cluster,
            options,
            partitions: Vec::new(),
            places: Places::new(),
            asked: BTreeMap::new(),
            leaders_are_stale: false,
        }
    }

    /// Asks for topics, on the connections of this fetcher.
    pub fn topics(&mut self, wanted: Topics<'_>) -> Result<Vec<TopicDescription>, Error> {
        self.cluster.topics(wanted)
    }

    /// Whether there is nothing to read.
    pub fn is_idle(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Reads a partition from `position` on, if it is not read already. A partition that the topic does not have (yet) is
    /// looked for again and again.
    pub fn assign(&mut self, topic: &TopicDescription, index: i32, position: Position) {
        if self.place_of(&topic.name, index).is_some() {
            return;
        }
        let leader = topic.partition(index).and_then(|known| known.leader);
        self.leaders_are_stale |= leader.is_none();
        self.places.entry(topic.name.clone()).or_default().insert(index, self.partitions.len());
        self.partitions.push(Assigned {
            topic: topic.name.clone(),
            id: topic.id,
            index,
            leader,
            position,
            shown: None,
        });
    }

    /// Reads a partition from where a group has committed on, as [`Fetcher::assign`] does.
    pub fn resume(&mut self, topic: &TopicDescription, index: i32, committed: Committed) {
        self.assign(topic, index, Position::At(committed.offset));
        let place = self.place_of(&topic.name, index).expect("it is assigned");
        self.partitions[place].shown = Some(committed);
    }

    fn place_of(&self, topic: &str, index: i32) -> Option<usize> {
        self.places.get(topic)?.get(&index).copied()
    }

    /// Reads nothing any more. Answers that are due will be passed over.
    pub fn revoke_all(&mut self) {
        self.partitions.clear();
        self.places.clear();
        self.asked.values_mut().for_each(Vec::clear);
    }

    /// Does not read these any more. What is due of them will be passed over.
    pub fn revoke(&mut self, revoked: &[TopicPartition]) {
        let revoked: BTreeSet<(&str, i32)> = revoked.iter().map(|of| (of.topic.as_str(), of.partition.0)).collect();
        let is_kept = |assigned: &Assigned| !revoked.contains(&(assigned.topic.as_str(), assigned.index));
        let mut kept = 0..;
        let places: Vec<Option<usize>> =
            self.partitions.iter().map(|assigned| if is_kept(assigned) { kept.next() } else { None }).collect();
        self.partitions.retain(is_kept);
        self.places.clear();
        for (place, assigned) in self.partitions.iter().enumerate() {
            self.places.entry(assigned.topic.clone()).or_default().insert(assigned.index, place);
        }
        for asked in self.asked.values_mut() {
            *asked = asked.iter().filter_map(|(place, offset)| Some((places[*place]?, *offset))).collect();
        }
    }

    /// How far each partition has been shown.
    pub fn shown(&self) -> Offsets {
        let shown =
            |assigned: &Assigned| Some((TopicPartition::new(assigned.topic.as_str(), assigned.index), assigned.shown?));
        self.partitions.iter().filter_map(shown).collect()
    }

    /// Shows `visit` the next records, until it says `false`; returns when every leader has answered once. An error that is
    /// retriable leaves all in order: polling again goes on where it was.
    pub fn poll(&mut self, mut visit: impl FnMut(Incoming<'_>) -> bool) -> Result<(), Error> {
        // Brokers that moved have new connections, on which nothing is due.
        let cluster = &self.cluster;
        self.asked.retain(|leader, _| cluster.is_connected(*leader));
        // A partition that cannot be read must not keep back the others.
        let mut problem = if self.leaders_are_stale { self.look_for_leaders()? } else { None };
        self.find_offsets()?;
        let leaders: BTreeSet<i32> = self.partitions.iter().filter_map(|assigned| assigned.leader).collect();
        for leader in &leaders {
            self.ask(*leader)?;
        }
        for leader in leaders {
            let Some(asked) = self.asked.remove(&leader) else { continue };
            let within = self.options.max_wait + self.options.answer_grace;
            let answer = self.cluster.broker(leader).and_then(|connection| connection.receive_within(within));
            let answer = answer.map_err(|error| self.lost(leader, error))?;
            problem = self.take_in(&answer, &asked)?.or(problem);
            // The next answer comes while this one is shown; and this one is shown even where the broker is gone.
            let sent = self.ask(leader);
            let mut shown = Vec::new();
            let go_on = self.show(&answer, &asked, &mut visit, &mut shown);
            for (index, position) in shown {
                self.partitions[index].shown = Some(position);
            }
            if !go_on? {
                return Ok(());
            }
            sent?;
        }
        problem.map_or(Ok(()), Err)
    }

    /// Asks a leader for the partitions it has, unless it owes an answer; or is to be asked for offsets first, which would have
    /// to wait for that answer.
    fn ask(&mut self, leader: i32) -> Result<(), Error> {
        let is_unplaced =
            |assigned: &Assigned| assigned.leader == Some(leader) && matches!(assigned.position, Position::End(_));
        if self.asked.contains_key(&leader) || self.partitions.iter().any(is_unplaced) {
            return Ok(());
        }
        let asked: Vec<_> = (0..self.partitions.len())
            .filter(|index| self.partitions[*index].leader == Some(leader))
            .filter_map(|index| match self.partitions[index].position {
                Position::At(offset) => Some((index, offset)),
                Position::End(_) => None,
            })
            .collect();
        if asked.is_empty() {
            return Ok(());
        }
        let partitions = asked.iter().map(|(index, offset)| {
            let assigned = &self.partitions[*index];
            let partition = FetchPartition {
                partition: assigned.index,
                fetch_offset: *offset,
                partition_max_bytes: self.options.max_partition_bytes,
                ..FetchPartition::default()
            };
            (assigned.topic.as_str(), (assigned.id, partition))
        });
        let topics = by_topic(partitions).into_iter().map(|(name, partitions)| FetchTopic {
            topic: Str::Borrowed(name),
            topic_id: partitions[0].0,
            partitions: partitions.into_iter().map(|(_, partition)| partition).collect(),
        });
        let topics: Vec<FetchTopic<'_>> = topics.collect();
        let by_name = topics.iter().any(|topic| topic.topic_id.is_zero());
        let request = FetchRequest {
            max_wait_ms: i32::try_from(self.options.max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: self.options.min_bytes,
            max_bytes: self.options.max_bytes,
            isolation_level: self.options.isolation_level as i8,
            session_epoch: NO_SESSION_EPOCH,
            topics,
            ..FetchRequest::default()
        };
        let newest = if by_name { LAST_FETCH_BY_NAME } else { i16::MAX };
        let sent = self.cluster.broker(leader).and_then(|connection| connection.send(ApiKey::Fetch, newest, &request));
        sent.map_err(|error| self.lost(leader, error))?;
        self.asked.insert(leader, asked);
        Ok(())
    }

    /// Moves the positions past what has come. Gives an error that may pass, of one of the partitions.
    fn take_in(&mut self, answer: &Answer, asked: &[(usize, i64)]) -> Result<Option<Error>, Error> {
        let mut problem = None;
        let response: FetchResponse<'_> = answer.read()?;
        if response.error_code != 0 {
            return Err(Error::refused(response.error_code, None, || "the fetch was refused".to_owned()));
        }
        for Fetched { place, from, partition: fetched } in self.match_up(&response, asked) {
            let reset = self.options.reset;
            let assigned = &mut self.partitions[place];
            match ErrorCode::from_code(fetched.error_code).unwrap_or(ErrorCode::UnknownServerError) {
                ErrorCode::None => {
                    if let Some(batch) = Batches::new(bytes_of(&fetched.records)).filter_map(Result::ok).last() {
                        assigned.position = Position::At(batch.header().next_offset().0);
                    }
                }
                ErrorCode::OffsetOutOfRange if reset == OffsetReset::Nowhere => {
                    let (topic, partition) = (&assigned.topic, assigned.index);
                    let message = format!("Fetch position {from} is out of range for partition {topic}-{partition}");
                    return Err(Error::Refused { code: ErrorCode::OffsetOutOfRange, message });
                }
                ErrorCode::OffsetOutOfRange => assigned.position = Position::End(reset),
                code => {
                    let message = format!("{}-{} cannot be read: {}", assigned.topic, assigned.index, code.name());
                    let error = Error::Refused { code, message };
                    if !code.is_retriable() {
                        return Err(error);
                    }
                    self.leaders_are_stale = true;
                    problem = Some(error);
                }
            }
        }
        Ok(problem)
    }

    fn show(
        &self,
        answer: &Answer,
        asked: &[(usize, i64)],
        visit: &mut impl FnMut(Incoming<'_>) -> bool,
        shown: &mut Vec<(usize, Committed)>,
    ) -> Result<bool, Error> {
        let response: FetchResponse<'_> = answer.read()?;
        let mut unpacked = Vec::new();
        for Fetched { place, from, partition: fetched } in self.match_up(&response, asked) {
            let assigned = &self.partitions[place];
            let mut aborted = Aborted::new(&fetched, self.options.isolation_level);
            for batch in Batches::new(bytes_of(&fetched.records)) {
                let batch = batch.map_err(|error| Error::bad_records(&assigned.topic, assigned.index, &error))?;
                if !batch.is_crc_valid() {
                    return Err(Error::bad_records(&assigned.topic, assigned.index, &"a batch's CRC is wrong"));
                }
                let records = unpack(&batch, &mut unpacked, assigned)?;
                let header = batch.header();
                let leader_epoch = Some(header.partition_leader_epoch.0).filter(|epoch| *epoch >= 0);
                let up_to = |offset| (place, Committed { offset, leader_epoch });
                if aborted.hides(&batch, records) {
                    shown.push(up_to(header.next_offset().0));
                    continue;
                }
                for record in RecordIter::new(header, records) {
                    let record = record.map_err(|error| Error::bad_records(&assigned.topic, assigned.index, &error))?;
                    if record.offset.0 < from {
                        continue;
                    }
                    let incoming = Incoming {
                        topic: &assigned.topic,
                        partition: assigned.index,
                        leader_epoch: header.partition_leader_epoch.0,
                        timestamp_type: header.attributes.timestamp_type(),
                        record,
                    };
                    let next = incoming.record.offset.0 + 1;
                    if !visit(incoming) {
                        shown.push(up_to(next));
                        return Ok(false);
                    }
                }
                shown.push(up_to(header.next_offset().0));
            }
        }
        Ok(true)
    }

    /// The partitions of an answer that are among those that were asked for. Topics have either a name or an id.
    fn match_up<'a>(&self, response: &FetchResponse<'a>, asked: &[(usize, i64)]) -> Vec<Fetched<'a>> {
        let mut by_name: BTreeMap<(&str, i32), (usize, i64)> = BTreeMap::new();
        let mut by_id: BTreeMap<(Uuid, i32), (usize, i64)> = BTreeMap::new();
        for &(place, from) in asked {
            let assigned = &self.partitions[place];
            by_name.insert((&assigned.topic, assigned.index), (place, from));
            by_id.insert((assigned.id, assigned.index), (place, from));
        }
        let mut matched = Vec::new();
        for topic in &response.responses {
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let known = match topic.topic.is_empty() {
                    true => by_id.get(&(topic.topic_id, index)),
                    false => by_name.get(&(&*topic.topic, index)),
                };
                if let Some(&(place, from)) = known {
                    matched.push(Fetched { place, from, partition: partition.clone() });
                }
            }
        }
        matched
    }

    /// Turns the ends of partitions into offsets.
    fn find_offsets(&mut self) -> Result<(), Error> {
        let is_nowhere = |assigned: &&Assigned| assigned.position == Position::End(OffsetReset::Nowhere);
        let nowhere = self.partitions.iter().filter(is_nowhere);
        let mut nowhere: Vec<_> =
            nowhere.map(|assigned| TopicPartition::new(assigned.topic.as_str(), assigned.index)).collect();
        if !nowhere.is_empty() {
            sort_as_in_java(&mut nowhere, DEFAULT_CAPACITY, hash_of_partition);
            let nowhere: Vec<String> = nowhere.iter().map(ToString::to_string).collect();
            let message = format!("Undefined offset with no reset policy for partitions: [{}]", nowhere.join(", "));
            return Err(Error::Refused { code: ErrorCode::OffsetOutOfRange, message });
        }
        let mut wanted: BTreeMap<i32, Vec<(usize, i64)>> = BTreeMap::new();
        for (index, assigned) in self.partitions.iter().enumerate() {
            if let (Some(leader), Position::End(end)) = (assigned.leader, assigned.position) {
                let timestamp = match end {
                    OffsetReset::Earliest => EARLIEST,
                    OffsetReset::Latest | OffsetReset::Nowhere => LATEST,
                    OffsetReset::Within(duration) => ago_ms(duration),
                };
                wanted.entry(leader).or_default().push((index, timestamp));
            }
        }
        for (leader, asked) in wanted {
            let partitions = asked.into_iter().map(|(index, timestamp)| {
                let assigned = &self.partitions[index];
                let partition =
                    ListedPartition { partition_index: assigned.index, timestamp, ..ListedPartition::default() };
                (assigned.topic.as_str(), partition)
            });
            let topics = by_topic(partitions).into_iter();
            let topics =
                topics.map(|(name, partitions)| ListedTopic { name: name.to_owned().into(), partitions }).collect();
            let isolation_level = self.options.isolation_level as i8;
            let request = ListOffsetsRequest { topics, isolation_level, ..ListOffsetsRequest::default() };
            self.list_offsets(leader, &request)?;
        }
        Ok(())
    }

    fn list_offsets(&mut self, leader: i32, request: &ListOffsetsRequest<'_>) -> Result<(), Error> {
        if self.asked.contains_key(&leader) {
            // Its answers come in order, and one to a Fetch is due: the offsets can wait until that is read.
            return Ok(());
        }
        let answer = self.cluster.broker(leader).and_then(|connection| connection.ask(ApiKey::ListOffsets, request));
        let answer = answer.map_err(|error| self.lost(leader, error))?;
        let response: ListOffsetsResponse<'_> = answer.read()?;
        for topic in &response.topics {
            for partition in &topic.partitions {
                let Some(place) = self.place_of(&topic.name, partition.partition_index) else { continue };
                let assigned = &mut self.partitions[place];
                match ErrorCode::from_code(partition.error_code).unwrap_or(ErrorCode::UnknownServerError) {
                    ErrorCode::None
                        if partition.offset < 0
                            && matches!(assigned.position, Position::End(OffsetReset::Within(_))) =>
                    {
                        assigned.position = Position::End(OffsetReset::Latest);
                    }
                    ErrorCode::None => {
                        let offset = partition.offset.max(0);
                        assigned.position = Position::At(offset);
                        // The epoch of a record that was not read is not committed.
                        assigned.shown = Some(Committed { offset, leader_epoch: None });
                    }
                    code => {
                        self.leaders_are_stale = true;
                        let message =
                            format!("{}-{}: no offsets: {}", topic.name, partition.partition_index, code.name());
                        return Err(Error::Refused { code, message });
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives an error that may pass where a partition has no leader.
    fn look_for_leaders(&mut self) -> Result<Option<Error>, Error> {
        let names: BTreeSet<String> = self.partitions.iter().map(|assigned| assigned.topic.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let topics = self.cluster.topics(Topics::Named { names: &names, create: false })?;
        for assigned in &mut self.partitions {
            let Some(topic) = TopicDescription::of_name(&topics, &assigned.topic) else { continue };
            if !topic.id.is_zero() && topic.id != assigned.id {
                assigned.id = topic.id;
            }
            assigned.leader = topic.partition(assigned.index).and_then(|partition| partition.leader);
        }
        let leaderless = self.partitions.iter().find(|assigned| assigned.leader.is_none());
        self.leaders_are_stale = leaderless.is_some();
        Ok(leaderless.map(|assigned| Error::Refused {
            code: ErrorCode::LeaderNotAvailable,
            message: format!("{}-{} has no leader, or is not there", assigned.topic, assigned.index),
        }))
    }

    /// Forgets a connection that failed, and what was due on it.
    fn lost(&mut self, leader: i32, error: Error) -> Error {
        self.cluster.drop_broker(leader);
        self.asked.remove(&leader);
        self.leaders_are_stale = true;
        error
    }
}

/// So long before now, in milliseconds since 1970.
fn ago_ms(duration: Duration) -> i64 {
    let then =
        SystemTime::now().checked_sub(duration).and_then(|then| then.duration_since(SystemTime::UNIX_EPOCH).ok());
    then.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Which producers' records are to be passed over, while reading a piece of a log in order (KIP-98).
struct Aborted {
    /// Producer and first offset, the latest first.
    coming: Vec<(i64, i64)>,
    hidden: BTreeSet<i64>,
}

impl Aborted {
    fn new(fetched: &FetchedPartition<'_>, isolation_level: IsolationLevel) -> Self {
        let listed = match isolation_level {
            IsolationLevel::ReadCommitted => fetched.aborted_transactions.as_deref().unwrap_or_default(),
            IsolationLevel::ReadUncommitted => &[],
        };
        let mut coming: Vec<_> = listed.iter().map(|aborted| (aborted.first_offset, aborted.producer_id)).collect();
        coming.sort_unstable_by(|one, other| other.cmp(one));
        Self { coming, hidden: BTreeSet::new() }
    }

    /// Whether a batch is not for readers: control records never are.
    fn hides(&mut self, batch: &Batch<'_>, records: &[u8]) -> bool {
        let header = batch.header();
        while let Some((_, producer)) = self.coming.pop_if(|(first, _)| *first <= header.last_offset().0) {
            self.hidden.insert(producer);
        }
        if header.attributes.is_control() {
            let marker = RecordIter::new(header, records).next().and_then(Result::ok);
            let kind = marker.and_then(|marker| ControlType::from_key(marker.key?));
            if kind == Some(ControlType::Abort) {
                self.hidden.remove(&header.producer_id.0);
            }
            return true;
        }
        header.attributes.is_transactional() && self.hidden.contains(&header.producer_id.0)
    }
}

fn unpack<'a>(batch: &Batch<'a>, out: &'a mut Vec<u8>, assigned: &Assigned) -> Result<&'a [u8], Error> {
    match batch.header().compression() {
        Some(Compression::None) => Ok(batch.records()),
        Some(codec) => {
            out.clear();
            compression::decompress(codec, batch.records(), LARGEST_BATCH_BYTES, out)
                .map_err(|error| Error::bad_records(&assigned.topic, assigned.index, &error))?;
            Ok(out)
        }
        None => Err(Error::bad_records(&assigned.topic, assigned.index, &"a batch of an unknown codec")),
    }
}

fn bytes_of<'a>(records: &Records<'a>) -> &'a [u8] {
    match records {
        Records::Bytes(bytes) => bytes,
        Records::Null | Records::Region(_) => &[],
    }
}

#[cfg(test)]
mod tests {
    use ottla_base::{Offset, ProducerEpoch, ProducerId};
    use ottla_protocol::messages::fetch_response::{AbortedTransaction, Response as FetchedTopic};
    use ottla_protocol::messages::list_offsets_response::{Partition as ListedOffset, Topic as ListedOffsets};
    use ottla_protocol::records::BatchBuilder;
    use ottla_protocol::{Message, Reader, Writer};

    use super::*;
    use crate::client::fake::FakeBroker;

    fn data(offset: i64, producer: i64, transactional: bool) -> Vec<u8> {
        let builder = BatchBuilder::new().base_offset(Offset(offset));
        let builder = builder.producer(ProducerId(producer), ProducerEpoch(0), 0);
        let mut builder = if transactional { builder.transactional() } else { builder };
        builder.push(0, None, Some(b"v"), &[]).build().unwrap()
    }

    fn marker(offset: i64, producer: i64, kind: ControlType) -> Vec<u8> {
        let builder = BatchBuilder::new().base_offset(Offset(offset)).control().transactional();
        let mut builder = builder.producer(ProducerId(producer), ProducerEpoch(0), -1);
        builder.push(0, Some(&kind.key()), Some(&[0; 6]), &[]).build().unwrap()
    }

    /// The offsets of the batches that a reader sees.
    fn seen(isolation_level: IsolationLevel, aborted: &[(i64, i64)], log: &[Vec<u8>]) -> Vec<i64> {
        let aborted =
            aborted.iter().map(|&(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset });
        let fetched = FetchedPartition { aborted_transactions: Some(aborted.collect()), ..FetchedPartition::default() };
        let mut aborted = Aborted::new(&fetched, isolation_level);
        let bytes = log.concat();
        let batches = Batches::new(&bytes).map(Result::unwrap);
        batches
            .filter(|batch| !aborted.hides(batch, batch.records()))
            .map(|batch| batch.header().base_offset.0)
            .collect()
    }

    #[test]
    fn readers_of_what_is_committed_see_no_aborted_transaction() {
        let log = [
            data(0, 1, true),
            data(1, 2, true),
            data(2, 1, false),
            marker(3, 1, ControlType::Abort),
            data(4, 1, true),
            marker(5, 2, ControlType::Commit),
            marker(6, 1, ControlType::Commit),
            data(7, 1, true),
            marker(8, 1, ControlType::Abort),
        ];
        assert_eq!(seen(IsolationLevel::ReadCommitted, &[(1, 7), (1, 0)], &log), [1, 2, 4]);
        assert_eq!(seen(IsolationLevel::ReadUncommitted, &[(1, 7), (1, 0)], &log), [0, 1, 2, 4, 7]);
    }

    /// Answers to ListOffsets and Fetch: all logs begin at 3, and have one record there.
    fn answer(api: ApiKey, version: i16, mut body: Reader<'_>, writer: &mut Writer) -> bool {
        if api == ApiKey::ListOffsets {
            let request = ListOffsetsRequest::decode(&mut body, version).unwrap();
            let partition = |partition_index| ListedOffset { partition_index, offset: 3, ..ListedOffset::default() };
            let topics = request.topics.iter().map(|topic| ListedOffsets {
                name: topic.name.clone(),
                partitions: topic.partitions.iter().map(|of| partition(of.partition_index)).collect(),
            });
            let response = ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() };
            response.encode(writer, version);
            return true;
        }
        let request = FetchRequest::decode(&mut body, version).unwrap();
        let record = data(3, -1, false);
        let responses = request.topics.iter().map(|topic| FetchedTopic {
            topic: topic.topic.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|of| FetchedPartition {
                    partition_index: of.partition,
                    records: if of.fetch_offset == 3 { Records::Bytes(&record) } else { Records::Null },
                    ..FetchedPartition::default()
                })
                .collect(),
            ..FetchedTopic::default()
        });
        let response = FetchResponse { responses: responses.collect(), ..FetchResponse::default() };
        response.encode(writer, version);
        true
    }

    /// Of a broker that answers so; and its topic.
    fn fetcher(
        answer: impl Fn(ApiKey, i16, Reader<'_>, &mut Writer) -> bool + Send + Sync + 'static,
        reset: OffsetReset,
    ) -> (Fetcher, TopicDescription) {
        let broker = FakeBroker::start(&[ApiKey::ListOffsets, ApiKey::Fetch], answer);
        let options = FetcherOptions {
            max_wait: Duration::ZERO,
            min_bytes: 1,
            max_bytes: 1000,
            max_partition_bytes: 1000,
            isolation_level: IsolationLevel::ReadUncommitted,
            reset,
            answer_grace: Duration::from_secs(30),
        };
        let mut fetcher = Fetcher::new(broker.connect(), options);
        let topic = fetcher.topics(Topics::All).unwrap().remove(0);
        (fetcher, topic)
    }

    #[test]
    fn partitions_that_are_given_up_are_passed_over_and_the_others_go_on() {
        let (mut fetcher, topic) = fetcher(answer, OffsetReset::Earliest);
        (0..3).for_each(|index| fetcher.resume(&topic, index, Committed { offset: 3, leader_epoch: None }));
        let mut seen = Vec::new();
        // It has come for all three, and the next is asked for.
        fetcher
            .poll(|incoming| {
                seen.push(incoming.partition);
                false
            })
            .unwrap();
        fetcher.revoke(&[TopicPartition::new("t", 0), TopicPartition::new("t", 1)]);
        let shown: Vec<_> = fetcher.shown().iter().map(|(of, at)| (of.to_string(), at.offset)).collect();
        assert_eq!((seen, shown), (vec![0], vec![("t-2".to_owned(), 3)]));
        fetcher.resume(&topic, 1, Committed { offset: 3, leader_epoch: None });
        let mut seen = Vec::new();
        for _ in 0..3 {
            fetcher
                .poll(|incoming| {
                    seen.push((incoming.partition, incoming.record.offset.0));
                    true
                })
                .unwrap();
        }
        assert_eq!(
            seen,
            [(1, 3)],
            "what came for the third was passed over, as for all after the last that was wanted"
        );
    }

    #[test]
    fn who_is_to_begin_nowhere_is_told_so() {
        let (mut fetcher, topic) = fetcher(answer, OffsetReset::Nowhere);
        (0..3).for_each(|index| fetcher.assign(&topic, index, Position::End(OffsetReset::Nowhere)));
        let refused = fetcher.poll(|_| true).unwrap_err();
        assert_eq!(refused.to_string(), "Undefined offset with no reset policy for partitions: [t-2, t-1, t-0]");
    }

    #[test]
    fn where_no_record_is_young_enough_reading_begins_at_the_end() {
        let none_by_time = |api: ApiKey, version: i16, mut body: Reader<'_>, writer: &mut Writer| {
            let request = (api == ApiKey::ListOffsets).then(|| ListOffsetsRequest::decode(&mut body, version).unwrap());
            let Some(request) = request else { return answer(api, version, body, writer) };
            let timestamp = request.topics[0].partitions[0].timestamp;
            let offset = if timestamp == LATEST { 9 } else { -1 };
            let partitions = vec![ListedOffset { partition_index: 0, offset, ..ListedOffset::default() }];
            let topics = vec![ListedOffsets { name: "t".into(), partitions }];
            ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }.encode(writer, version);
            true
        };
        let reset = OffsetReset::Within(Duration::from_secs(1));
        let (mut fetcher, topic) = fetcher(none_by_time, reset);
        fetcher.assign(&topic, 0, Position::End(reset));
        for _ in 0..2 {
            fetcher.poll(|_| panic!("there is nothing")).unwrap();
        }
        assert_eq!(fetcher.shown()[&TopicPartition::new("t", 0)].offset, 9);
    }

    #[test]
    fn a_partition_is_found_its_place_while_others_are_read() {
        let (mut fetcher, topic) = fetcher(answer, OffsetReset::Earliest);
        fetcher.resume(&topic, 0, Committed { offset: 3, leader_epoch: None });
        let mut seen = Vec::new();
        let mut poll = |fetcher: &mut Fetcher| {
            fetcher.poll(|incoming| {
                seen.push((incoming.partition, incoming.record.offset.0));
                true
            })
        };
        poll(&mut fetcher).unwrap();
        // From here on an answer is always due.
        fetcher.assign(&topic, 1, Position::End(OffsetReset::Earliest));
        for _ in 0..3 {
            poll(&mut fetcher).unwrap();
        }
        let shown: Vec<_> = fetcher.shown().iter().map(|(of, at)| (of.to_string(), at.offset)).collect();
        assert_eq!(shown, [("t-0".to_owned(), 4), ("t-1".to_owned(), 4)]);
        fetcher.revoke_all();
        fetcher.resume(&topic, 2, Committed { offset: 3, leader_epoch: None });
        for _ in 0..2 {
            poll(&mut fetcher).unwrap();
        }
        assert_eq!(seen, [(0, 3), (1, 3), (2, 3)]);
    }
}
