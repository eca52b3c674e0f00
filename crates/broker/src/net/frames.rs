//! Cuts a connection's bytes into request frames: `size i32, size bytes`.
//!
//! ```text
//!   buffer  | done | frame being handled | bytes of the next frames | room |
//!           0      start                                            len    capacity
//! ```
//!
//! The buffer grows with what has come, up to the frame's size; nothing is set aside for an announcement. For a client that sends
//! frames ahead there is room for several, while memory is plentiful. Every byte above
//! [`FREE_BYTES`] is paid for from the shared [`FrameMemory`](super::memory::FrameMemory) before it is written.
//!
//! A small buffer grows by doubling, and is copied each time. Of a large frame the rest is allocated at once, so that there
//! are never two copies of it: the system gives memory to what is written, and only what is paid for is.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::BufMut;
use ottla_protocol::ApiKey;
use tokio::time::{Instant, Sleep};

use super::memory::Share;
use super::transport::Transport;
use crate::dispatch;

/// The length prefix.
const SIZE_BYTES: usize = 4;
/// What a frame begins with: the API key.
const KEY_BYTES: usize = 2;
/// A first buffer, that the budget does not count.
const FREE_BYTES: usize = 4 * 1024;
/// A frame of which less than this is missing is read together with what follows it; for a client that sends several ahead the
/// buffer is as long.
const READ_AHEAD_BYTES: usize = 64 * 1024;
/// The smallest step a buffer grows by once it is larger than the first one.
const STEP_BYTES: usize = 64 * 1024;
/// A buffer that has to grow beyond this is made as long as the frame ...
const WHOLE_FROM_BYTES: usize = 8 * 1024 * 1024;
/// ... and paid for in steps of this.
const WHOLE_STEP_BYTES: usize = 4 * 1024 * 1024;
/// A larger buffer is given back as soon as it is empty.
const KEPT_BYTES: usize = 2 * 1024 * 1024;
/// How long an idle connection keeps its buffer, and how often a half-read frame is asked for its progress.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// What a half-read frame must gain between two checks while others wait for memory: this ...
const PROGRESS_BYTES: usize = 1024 * 1024;
/// ... or this part of itself, if that is less. Then it is there after 16 s, while most clients wait 30 s for an answer.
const PROGRESS_PART: usize = 16;

/// Why no further frame will come of this connection.
#[derive(Debug)]
pub enum ReadError {
    /// The socket failed.
    Io(io::Error),
    /// The announced size is negative or over the limit.
    Size(i32),
    /// It is larger than any request of this API key is meant to be.
    TooLarge(i16, usize),
    /// The other end closed in the middle of a frame.
    Truncated,
    /// The frame came too slowly while others waited for the memory it held.
    Stalled,
    /// Nothing came for `connections.max.idle.ms`.
    Idle,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "reading failed: {error}"),
            Self::Size(size) => {
                write!(f, "a frame of {size} bytes was announced, which socket.request.max.bytes forbids")
            }
            Self::TooLarge(api_key, bytes) => write!(
                f,
                "a request of {} has {bytes} bytes, and may have {}: ask for less at once",
                ApiKey::from_code(*api_key).map_or("an unknown API", ApiKey::name),
                dispatch::frame_max_bytes(*api_key)
            ),
            Self::Truncated => f.write_str("the client closed it in the middle of a frame"),
            Self::Stalled => f.write_str("a frame came too slowly while others waited for the memory it held"),
            Self::Idle => f.write_str("it was idle for connections.max.idle.ms"),
        }
    }
}

/// Whether a frame is that of a Produce.
pub fn is_produce(frame: &[u8]) -> bool {
    frame.first_chunk() == Some(&ApiKey::Produce.code().to_be_bytes())
}

/// Reads frames, one at a time.
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    share: Share,
    limit_bytes: usize,
    max_idle: Duration,
    last_active: Instant,
    checked_bytes: usize,
    is_excused: bool,
    waits_for_memory: bool,
    /// The last read filled the buffer: there may be more.
    is_filled: bool,
    check: Pin<Box<Sleep>>,
    /// Since when the whole frame is there.
    whole_since: Option<std::time::Instant>,
}

impl FrameReader {
    /// Frames of up to `limit_bytes`, buffered at the expense of `share`.
    pub fn new(share: Share, limit_bytes: usize, max_idle: Duration) -> Self {
        let now = Instant::now();
        Self {
            buffer: Vec::new(),
            start: 0,
            share,
            limit_bytes,
            max_idle,
            last_active: now,
            checked_bytes: 0,
            is_excused: false,
            waits_for_memory: false,
            is_filled: false,
            check: Box::pin(tokio::time::sleep_until(now + max_idle.min(CHECK_EVERY))),
            whole_since: None,
        }
    }

    /// Waits for a whole frame and says how long it is; `None` where the other end has closed between two frames.
    /// May be dropped at any await and called again.
    pub async fn next(&mut self, transport: &Transport) -> Result<Option<usize>, ReadError> {
        loop {
            let buffered = self.buffer.len() - self.start;
            let missing = match self.announced()? {
                Some(size) if buffered >= SIZE_BYTES + size => {
                    self.whole_since.get_or_insert_with(std::time::Instant::now);
                    return Ok(Some(size));
                }
                Some(size) => SIZE_BYTES + size - buffered,
                None => 0,
            };
            // A buffer is made or grows only where something has come: an idle connection holds none, and nobody waits for memory,
            // holding some, who would have nothing to put into it.
            if self.room() == 0 && self.start == 0 {
                while !transport.has_come().map_err(ReadError::Io)? {
                    self.wait_readable(transport).await?;
                }
            }
            // Behind a whole frame there is more.
            let is_ahead = std::mem::take(&mut self.is_filled)
                && (self.start > 0 || (buffered == 0 && transport.has_come().map_err(ReadError::Io)?));
            self.make_room(buffered, missing, is_ahead).await;
            let room = self.room();
            let want = if missing >= READ_AHEAD_BYTES { missing.min(room) } else { room };
            match transport.try_read(&mut (&mut self.buffer).limit(want)).map_err(ReadError::Io)? {
                Some(0) if buffered == 0 => return Ok(None),
                Some(0) => return Err(ReadError::Truncated),
                Some(count) => {
                    self.last_active = Instant::now();
                    self.is_filled = count == want;
                }
                None => self.wait_readable(transport).await?,
            }
        }
    }

    /// The frame that [`next`](Self::next) found, of `size` bytes.
    pub fn frame(&self, size: usize) -> &[u8] {
        &self.buffer[self.start + SIZE_BYTES..self.start + SIZE_BYTES + size]
    }

    /// How long the next request is, if it is there already, a Produce, and not a large one; as [`next`](Self::next) would say.
    pub fn next_produce(&mut self) -> Option<usize> {
        let size =
            self.announced().ok().flatten().filter(|&size| self.buffer.len() - self.start >= SIZE_BYTES + size)?;
        if size > READ_AHEAD_BYTES || !is_produce(self.frame(size)) {
            return None;
        }
        self.whole_since.get_or_insert_with(std::time::Instant::now);
        Some(size)
    }

    /// Since when that frame is found, however often it was looked for since.
    pub fn whole_since(&self) -> std::time::Instant {
        self.whole_since.expect("a frame was found")
    }

    /// Forgets the frame that [`next`](Self::next) found.
    pub fn consume(&mut self, size: usize) {
        self.start += SIZE_BYTES + size;
        self.whole_since = None;
        assert!(self.start <= self.buffer.len(), "a frame ends within the buffer");
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
            if self.buffer.capacity() > KEPT_BYTES || (self.share.bytes() > 0 && !self.share.memory().is_plentiful()) {
                self.release();
            }
        }
        self.checked_bytes = 0;
        self.is_excused = false;
    }

    /// The client has taken an answer: it is not idle, however long that took.
    pub fn client_is_active(&mut self) {
        self.last_active = Instant::now();
    }

    /// Keeps no more memory than what has come and was not handled yet: nothing will be read for a while.
    pub fn trim(&mut self) {
        if self.share.bytes() == 0 {
            return;
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        self.is_filled = false;
        self.buffer.shrink_to_fit();
        self.share.shrink_to(self.buffer.capacity().saturating_sub(FREE_BYTES));
    }

    /// Forgets all that has come: [`next`](Self::next) is not called any more.
    pub fn discard(&mut self) {
        self.start = 0;
        self.release();
    }

    /// Whether it holds memory that others wait for.
    pub fn is_in_the_way(&self) -> bool {
        self.share.bytes() > 0 && self.share.memory().is_short()
    }

    fn announced(&self) -> Result<Option<usize>, ReadError> {
        let Some((prefix, frame)) = self.buffer[self.start..].split_first_chunk::<SIZE_BYTES>() else {
            return Ok(None);
        };
        let size = i32::from_be_bytes(*prefix);
        let bytes = match usize::try_from(size) {
            Ok(bytes) if bytes <= self.limit_bytes => bytes,
            _ => return Err(ReadError::Size(size)),
        };
        // The rest of what will be refused is not waited for.
        let api_key = frame.first_chunk::<KEY_BYTES>().map(|key| i16::from_be_bytes(*key));
        match api_key.filter(|&api_key| bytes > dispatch::frame_max_bytes(api_key)) {
            Some(api_key) => Err(ReadError::TooLarge(api_key, bytes)),
            None => Ok(Some(bytes)),
        }
    }

    /// How much of the buffer may be written, as far as it is paid for.
    fn paid_bytes(&self) -> usize {
        self.buffer.capacity().min(FREE_BYTES + self.share.bytes())
    }

    fn room(&self) -> usize {
        self.paid_bytes().saturating_sub(self.buffer.len())
    }

    /// Makes room for at least one byte: by moving the started frame to the front, or by growing.
    async fn make_room(&mut self, buffered: usize, missing: usize, is_ahead: bool) {
        if self.start > 0 && (missing == 0 || self.room() < missing.min(READ_AHEAD_BYTES)) {
            self.buffer.drain(..self.start);
            self.start = 0;
            if !self.share.memory().is_plentiful() {
                self.give_back_room();
            }
        }
        if is_ahead && self.start == 0 {
            self.try_read_ahead();
        }
        if self.room() > 0 {
            return;
        }
        if self.buffer.capacity() == 0 {
            // While there is a buffer, somebody looks every second whether it is still of use.
            self.check.as_mut().reset(Instant::now() + CHECK_EVERY);
        }
        let grown = match self.paid_bytes() {
            paid if paid < FREE_BYTES => FREE_BYTES,
            paid if paid < WHOLE_FROM_BYTES => (paid * 2).max(STEP_BYTES),
            paid => paid + WHOLE_STEP_BYTES,
        };
        let whole = buffered + missing;
        let target = if missing > 0 { grown.min(whole) } else { grown }.max(FREE_BYTES);
        if !self.share.try_grow_to(target - FREE_BYTES) {
            // It may be called away meanwhile, and find memory at once when it is called again.
            self.waits_for_memory = true;
            self.share.grow_to(target - FREE_BYTES).await;
        }
        if std::mem::take(&mut self.waits_for_memory) {
            // While it waited, its client could not get on.
            self.check.as_mut().reset(Instant::now() + CHECK_EVERY);
        }
        let capacity = if target > WHOLE_FROM_BYTES { whole.max(target) } else { target };
        self.buffer.reserve_exact(capacity - self.buffer.len());
    }

    /// Lets several frames be read at once, while memory is plentiful.
    fn try_read_ahead(&mut self) {
        let is_small = (1..READ_AHEAD_BYTES).contains(&self.buffer.capacity());
        let memory = self.share.memory();
        if is_small && memory.is_plentiful() && self.share.try_grow_to(READ_AHEAD_BYTES - FREE_BYTES) {
            self.buffer.reserve_exact(READ_AHEAD_BYTES - self.buffer.len());
        }
    }

    /// Keeps no room for frames that might be sent ahead.
    fn give_back_room(&mut self) {
        if self.buffer.capacity() <= READ_AHEAD_BYTES {
            self.trim();
        }
    }

    fn release(&mut self) {
        self.buffer = Vec::new();
        self.is_filled = false;
        self.share.shrink_to(0);
    }

    fn least_progress_bytes(&self) -> usize {
        let size = self.announced().ok().flatten();
        size.map_or(PROGRESS_BYTES, |size| (size / PROGRESS_PART).clamp(1, PROGRESS_BYTES))
    }

    /// Waits for bytes; meanwhile looks after an idle buffer, a frame that does not get on, and an idle connection.
    async fn wait_readable(&mut self, transport: &Transport) -> Result<(), ReadError> {
        loop {
            tokio::select! {
                biased;
                ready = transport.readable() => return ready.map_err(ReadError::Io),
                () = &mut self.check => {}
            }
            let now = Instant::now();
            let idle = now.duration_since(self.last_active);
            if idle >= self.max_idle {
                // Perhaps it was this process that stood still, rather than the client: then there is something to read.
                tokio::task::yield_now().await;
                return if transport.is_readable().await { Ok(()) } else { Err(ReadError::Idle) };
            }
            let buffered = self.buffer.len() - self.start;
            if idle >= CHECK_EVERY {
                if buffered == 0 { self.release() } else { self.give_back_room() }
            }
            if self.share.bytes() > 0 && self.share.memory().is_short() && buffered > 0 {
                // It may have begun only just before the first look at it.
                let is_first = self.checked_bytes == 0;
                if !is_first && buffered < self.checked_bytes + self.least_progress_bytes() {
                    // Perhaps it was this thread that had no time, rather than the client: then there is something to
                    // read. That is believed once a frame.
                    tokio::task::yield_now().await;
                    if std::mem::replace(&mut self.is_excused, true) || !transport.is_readable().await {
                        return Err(ReadError::Stalled);
                    }
                }
                self.checked_bytes = buffered;
            }
            let next = if self.buffer.capacity() > 0 { CHECK_EVERY } else { self.max_idle - idle };
            self.check.as_mut().reset(now + next);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::super::memory::FrameMemory;
    use super::super::transport::tests::pair;
    use super::*;

    fn reader(limit_bytes: usize) -> FrameReader {
        FrameReader::new(FrameMemory::new(1 << 20).share(), limit_bytes, Duration::from_secs(600))
    }

    #[tokio::test]
    async fn frames_of_every_size_come_out_as_they_went_in() {
        let (transport, mut client) = pair().await;
        let sizes = [0, 1, 5000, 3, 4092, 4093, 300_000, 70_000, 2, 12_000];
        let writer = tokio::spawn(async move {
            for (index, size) in sizes.into_iter().enumerate() {
                client.write_i32(size).await.expect("it is open");
                client.write_all(&vec![index as u8; size as usize]).await.expect("it is open");
            }
        });
        let mut reader = reader(1 << 20);
        for (index, size) in sizes.into_iter().enumerate() {
            let length = reader.next(&transport).await.expect("well formed").expect("a frame");
            assert_eq!(length, size as usize);
            assert!(reader.frame(length).iter().all(|&byte| byte == index as u8));
            reader.consume(length);
        }
        writer.await.expect("it does not panic");
        assert!(matches!(reader.next(&transport).await, Ok(None)));
    }

    fn produce_frame(size: usize) -> Vec<u8> {
        let mut frame = (size as i32).to_be_bytes().to_vec();
        frame.extend(ApiKey::Produce.code().to_be_bytes());
        frame.resize(SIZE_BYTES + size, 7);
        frame
    }

    #[tokio::test]
    async fn requests_that_are_sent_ahead_are_read_at_once() {
        const SIZE: usize = 4_000;
        let (transport, mut client) = pair().await;
        let all: Vec<u8> = std::iter::repeat_n(produce_frame(SIZE), 20).flatten().collect();
        client.write_all(&all).await.expect("it is open");
        have_come(&transport, 60_000).await;
        let mut reader = reader(1 << 20);
        let mut reads = 0;
        for left in (0..20).rev() {
            let before = reader.buffer.len() - reader.start;
            assert!(matches!(reader.next(&transport).await, Ok(Some(SIZE))));
            reads += usize::from(reader.buffer.len() - reader.start != before);
            reader.consume(SIZE);
            assert!(left > 0 || reader.next_produce().is_none(), "nothing is left");
        }
        // The first read fills the first buffer, and each further one takes what 64 KiB take.
        assert!((3..=5).contains(&reads), "{reads}");
        assert_eq!(reader.buffer.capacity(), READ_AHEAD_BYTES);
    }

    #[tokio::test]
    async fn nothing_is_read_ahead_where_memory_is_scarce() {
        const SIZE: usize = 10_000;
        let (transport, mut client) = pair().await;
        let memory = FrameMemory::new(1 << 20);
        let _others = memory.try_share(600 << 10).expect("there is room");
        let all: Vec<u8> = std::iter::repeat_n(produce_frame(SIZE), 6).flatten().collect();
        client.write_all(&all).await.expect("it is open");
        have_come(&transport, all.len()).await;
        let mut reader = FrameReader::new(memory.share(), 1 << 20, Duration::from_secs(600));
        for _ in 0..6 {
            assert!(matches!(reader.next(&transport).await, Ok(Some(SIZE))));
            assert!(reader.buffer.capacity() <= SIZE_BYTES + SIZE, "{}", reader.buffer.capacity());
            reader.consume(SIZE);
        }
    }

    #[tokio::test]
    async fn for_one_frame_at_a_time_there_is_no_room_for_several() {
        let (transport, mut client) = pair().await;
        let mut reader = reader(1 << 20);
        for size in [FREE_BYTES - SIZE_BYTES, 10_000, 10_000, 16_000] {
            client.write_all(&produce_frame(size)).await.expect("it is open");
            have_come(&transport, SIZE_BYTES + size).await;
            assert!(matches!(reader.next(&transport).await, Ok(Some(found)) if found == size));
            reader.consume(size);
            let idle = tokio::time::timeout(Duration::from_millis(1), reader.next(&transport)).await;
            assert!(idle.is_err(), "{idle:?}");
            assert!(reader.buffer.capacity() <= SIZE_BYTES + size.max(FREE_BYTES), "{}", reader.buffer.capacity());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_in_the_middle_of_a_small_frame_keeps_no_room_for_several() {
        let (transport, mut client) = pair().await;
        let mut sent: Vec<u8> = std::iter::repeat_n(produce_frame(1_000), 20).flatten().collect();
        sent.extend(&produce_frame(1_000)[..10]);
        client.write_all(&sent).await.expect("it is open");
        have_come(&transport, sent.len()).await;
        let mut reader = reader(1 << 20);
        for _ in 0..20 {
            assert!(matches!(reader.next(&transport).await, Ok(Some(1_000))));
            reader.consume(1_000);
        }
        assert_eq!(reader.buffer.capacity(), READ_AHEAD_BYTES);
        // The clock only goes on where nothing else does.
        assert!(tokio::time::timeout(3 * CHECK_EVERY, reader.next(&transport)).await.is_err());
        assert_eq!((reader.share.bytes(), reader.buffer.len() - reader.start), (0, 10));
        client.write_all(&produce_frame(1_000)[10..]).await.expect("it is open");
        assert!(matches!(reader.next(&transport).await, Ok(Some(1_000))));
    }

    #[tokio::test]
    async fn only_a_whole_produce_is_known_to_be_next() {
        let whole = produce_frame(100);
        let mut fetch = whole.clone();
        fetch[SIZE_BYTES..SIZE_BYTES + KEY_BYTES].copy_from_slice(&ApiKey::Fetch.code().to_be_bytes());
        let negative = [&[0xff; 4][..], &whole[4..]].concat();
        // A frame of one byte, and one that begins as a Produce.
        let short = [&[0, 0, 0, 1, 0][..], &whole].concat();
        let long = produce_frame(READ_AHEAD_BYTES + 1);
        let forbidden = produce_frame(2001);
        let wrong: [&[u8]; 9] =
            [&forbidden, &[], &whole[..3], &whole[..4], &whole[..103], &fetch, &negative, &short, &long];
        for done in [&[][..], &produce_frame(7)] {
            let next_produce = |bytes: &[u8]| {
                let mut reader = reader(if bytes.len() > READ_AHEAD_BYTES { 1 << 20 } else { 2000 });
                reader.buffer = [done, bytes].concat();
                reader.start = done.len();
                reader.next_produce()
            };
            assert_eq!(next_produce(&whole), Some(100));
            assert_eq!(next_produce(&[&whole[..], &whole[..50]].concat()), Some(100));
            for bytes in wrong {
                assert_eq!(next_produce(bytes), None, "{:?}", bytes.first_chunk::<6>());
            }
        }
    }

    #[tokio::test]
    async fn a_frame_that_waits_to_be_handled_is_there_since_it_was_found_first() {
        let (transport, mut client) = pair().await;
        let mut reader = reader(100);
        let mut found = Vec::new();
        for times in [3, 1] {
            client.write_i32(0).await.expect("it is open");
            for _ in 0..times {
                assert_eq!(reader.next(&transport).await.expect("well formed"), Some(0));
                found.push(reader.whole_since());
            }
            reader.consume(0);
        }
        assert!(found[0] == found[1] && found[1] == found[2] && found[2] < found[3], "{found:?}");
    }

    /// Waits until so many bytes have come that nobody has read.
    async fn have_come(transport: &Transport, bytes: usize) {
        let Transport::Plain(stream) = transport;
        let mut seen = vec![0; bytes];
        while stream.peek(&mut seen).await.expect("it is open") < bytes {
            tokio::task::yield_now().await;
        }
    }

    /// The clock only goes on where nothing else does.
    #[tokio::test(start_paused = true)]
    async fn waiting_for_memory_is_not_held_against_a_client() {
        let memory = FrameMemory::new(200_000);
        let mut held: Vec<Share> = (0..4).map(|_| memory.try_share(50_000).expect("there is room")).collect();
        let mut overdrawn = memory.share();
        overdrawn.grow_to(1).await;
        let (transport, mut client) = pair().await;
        let mut reader = FrameReader::new(memory.share(), 1 << 20, Duration::from_secs(600));
        client.write_i32(40_000).await.expect("it is open");
        client.write_all(&[1; 10_000]).await.expect("it is open");
        have_come(&transport, 10_004).await;
        // It has waited for longer than between two checks.
        let waits = tokio::time::timeout(2 * CHECK_EVERY, reader.next(&transport)).await;
        assert!(waits.is_err() && reader.share.bytes() == 0, "there is no memory: {waits:?}");
        // Others wait all the time.
        let waiter = tokio::spawn(async move { memory.share().grow_to(1_000_000).await });
        tokio::task::yield_now().await;
        held.pop();
        let waits = tokio::time::timeout(CHECK_EVERY / 2, reader.next(&transport)).await;
        assert!(waits.is_err() && reader.share.memory().is_short(), "it waits for its client: {waits:?}");
        client.write_all(&[1; 30_000]).await.expect("it is open");
        have_come(&transport, 30_000).await;
        assert!(matches!(reader.next(&transport).await, Ok(Some(40_000))));
        waiter.abort();
    }

    #[tokio::test]
    async fn a_small_frame_over_a_slow_line_is_not_cut_for_others_that_wait() {
        const SIZE: usize = 40_000;
        // Both need four seconds, and one of them stops in the middle.
        for (pieces, comes) in [(8, true), (4, false)] {
            let (transport, mut client) = pair().await;
            let memory = FrameMemory::new(1 << 20);
            let mut reader = FrameReader::new(memory.share(), 1 << 20, Duration::from_secs(600));
            let (mut holder, mut overdrawn, mut waiting) = (memory.share(), memory.share(), memory.share());
            assert!(holder.try_grow_to(700 << 10));
            overdrawn.grow_to(500 << 10).await;
            let waits = tokio::spawn(async move { waiting.grow_to(500 << 10).await });
            let writer = tokio::spawn(async move {
                client.write_i32(SIZE as i32).await.expect("it is open");
                for _ in 0..pieces {
                    client.write_all(&[7; SIZE / 8]).await.expect("it is open");
                    tokio::time::sleep(CHECK_EVERY / 2).await;
                }
                client
            });
            match reader.next(&transport).await {
                Ok(Some(SIZE)) => assert!(comes),
                Err(ReadError::Stalled) => assert!(!comes),
                other => panic!("{other:?}"),
            }
            assert!(!waits.is_finished());
            waits.abort();
            writer.await.expect("it does not panic");
        }
    }

    #[tokio::test]
    async fn a_trimmed_reader_keeps_what_has_come_and_nothing_more() {
        let (transport, mut client) = pair().await;
        for size in [300_000, 10, 20] {
            client.write_i32(size).await.expect("it is open");
            client.write_all(&vec![1; size as usize]).await.expect("it is open");
        }
        let mut reader = reader(1 << 20);
        for size in [300_000, 10, 20] {
            let length = reader.next(&transport).await.expect("well formed").expect("a frame");
            assert_eq!(length, size);
            assert!(reader.frame(length).iter().all(|&byte| byte == 1));
            reader.consume(length);
            reader.trim();
            assert!(reader.share.bytes() < 2 * STEP_BYTES, "{} bytes", reader.share.bytes());
        }
    }

    #[tokio::test]
    async fn an_announcement_takes_no_memory() {
        let (transport, mut client) = pair().await;
        client.write_i32(100 << 20).await.expect("it is open");
        client.write_all(&[0; 10_000]).await.expect("it is open");
        client.shutdown().await.expect("it is open");
        let mut reader = reader(100 << 20);
        assert!(matches!(reader.next(&transport).await, Err(ReadError::Truncated)));
        assert!(reader.buffer.capacity() <= STEP_BYTES, "{}", reader.buffer.capacity());
    }

    #[tokio::test]
    async fn a_large_frame_is_paid_for_as_it_comes_and_never_there_twice() {
        let (transport, mut client) = pair().await;
        let size = 20 << 20;
        let memory = FrameMemory::new(64 << 20);
        let mut reader = FrameReader::new(memory.share(), size, Duration::from_secs(600));
        let half = size / 2;
        let sender = async {
            client.write_i32(size as i32).await.expect("it is open");
            client.write_all(&vec![0; half]).await.expect("it is open");
        };
        let received = async {
            while reader.buffer.len() < SIZE_BYTES + half {
                let frame = tokio::time::timeout(Duration::from_millis(20), reader.next(&transport)).await;
                assert!(frame.is_err(), "half of it has not come: {frame:?}");
            }
        };
        tokio::join!(sender, received);
        assert_eq!(reader.buffer.len(), SIZE_BYTES + half);
        assert_eq!(reader.buffer.capacity(), SIZE_BYTES + size, "it will not be copied");
        assert!(reader.share.bytes() <= half + WHOLE_STEP_BYTES, "{} bytes", reader.share.bytes());
        let rest = vec![0; half];
        let (frame, sent) = tokio::join!(reader.next(&transport), client.write_all(&rest));
        sent.expect("it is open");
        assert!(matches!(frame, Ok(Some(bytes)) if bytes == size));
        assert!(reader.share.bytes() <= SIZE_BYTES + size);
        reader.consume(size);
        assert_eq!((reader.share.bytes(), reader.buffer.capacity()), (0, 0));
    }

    #[tokio::test]
    async fn a_request_that_brings_no_records_is_refused_before_it_is_there() {
        let (transport, mut client) = pair().await;
        client.write_i32(50 << 20).await.expect("it is open");
        client.write_i16(ApiKey::Metadata.code()).await.expect("it is open");
        let mut reader = reader(100 << 20);
        assert!(matches!(reader.next(&transport).await, Err(ReadError::TooLarge(3, bytes)) if bytes == 50 << 20));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_just_taken_an_answer_is_not_idle() {
        let (transport, _client) = pair().await;
        let max_idle = Duration::from_secs(600);
        let mut reader = FrameReader::new(FrameMemory::new(1 << 20).share(), 1000, max_idle);
        tokio::time::sleep(max_idle).await;
        reader.client_is_active();
        assert!(tokio::time::timeout(max_idle / 2, reader.next(&transport)).await.is_err());
        assert!(matches!(reader.next(&transport).await, Err(ReadError::Idle)));
    }

    #[tokio::test]
    async fn a_size_that_is_negative_or_too_large_is_refused() {
        for size in [-1, i32::MIN, 1001] {
            let (transport, mut client) = pair().await;
            client.write_i32(size).await.expect("it is open");
            assert!(matches!(reader(1000).next(&transport).await, Err(ReadError::Size(refused)) if refused == size));
        }
    }
}
