//! Readers that unpack, each in memory that does not depend on how much comes out.

use std::borrow::BorrowMut;
use std::io::{self, Read};

use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{self, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

/// Every member of a gzip stream begins with these bytes.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A frame of LZ4 begins with these bytes.
const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// A frame of zstd begins with these bytes.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Among the flags that follow the magic of LZ4.
const LZ4_INDEPENDENT_BLOCKS: u8 = 1 << 5;

/// Xerial's stream begins with these bytes, then two versions that nobody looks at.
pub(super) const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The bytes before the first block.
pub(super) const XERIAL_HEADER_BYTES: usize = 16;
/// No byte of snappy unpacks to more: its densest element is a copy of 64 bytes, written in 3.
const SNAPPY_RATIO_MAX: usize = 22;

/// How far back a zstd frame may reach, which is what unpacking it takes in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZstdWindow {
    /// 8 MiB. No encoder asks for more, unless it is told to compress as hard as it can.
    Usual,
    /// 128 MiB: zstd's own limit, and that of Kafka.
    Large,
}

impl ZstdWindow {
    /// What unpacking `bytes` takes: frames are stepped over, none is unpacked. Bytes that are no frames take nothing, as
    /// unpacking ends there too.
    pub fn of(bytes: &[u8]) -> Self {
        let mut rest = bytes;
        while !rest.is_empty() {
            if zstd_window_bytes(rest).is_some_and(|bytes| bytes > 1 << Self::Usual.log()) {
                return Self::Large;
            }
            match zstd_safe::find_frame_compressed_size(rest) {
                Ok(frame_bytes @ 1..) => rest = rest.get(frame_bytes..).unwrap_or_default(),
                _ => break,
            }
        }
        Self::Usual
    }

    fn log(self) -> u32 {
        match self {
            Self::Usual => 23,
            Self::Large => 27,
        }
    }
}

/// The window that the header of a zstd frame asks for (RFC 8878, 3.1.1.1): its own field, or all that comes out.
fn zstd_window_bytes(frame: &[u8]) -> Option<u64> {
    const DICTIONARY_ID_BYTES: [usize; 4] = [0, 1, 2, 4];
    let (&descriptor, rest) = frame.strip_prefix(&ZSTD_MAGIC)?.split_first()?;
    let is_single_segment = descriptor & 0x20 != 0;
    if !is_single_segment {
        let window = u64::from(*rest.first()?);
        let base = 1 << (10 + (window >> 3));
        return Some(base + base / 8 * (window & 7));
    }
    let size = rest.get(DICTIONARY_ID_BYTES[usize::from(descriptor & 3)]..)?;
    Some(match descriptor >> 6 {
        0 => u64::from(*size.first()?),
        1 => u64::from(u16::from_le_bytes(*size.first_chunk()?)) + 256,
        2 => u64::from(u32::from_le_bytes(*size.first_chunk()?)),
        _ => u64::from_le_bytes(*size.first_chunk()?),
    })
}

/// One gzip member after the other (RFC 1952). What follows them and is no member is ignored, as Java does.
pub(super) struct GzipReader<'a> {
    member: flate2::bufread::GzDecoder<&'a [u8]>,
    /// Those that were begun behind the first, and how many may be.
    pub further_members: usize,
    pub further_members_max: usize,
}

impl<'a> GzipReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let member = flate2::bufread::GzDecoder::new(bytes);
        Self { member, further_members: 0, further_members_max: usize::MAX }
    }
}

impl Read for GzipReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.member.read(buffer)?;
            let rest = *self.member.get_ref();
            if count > 0 || buffer.is_empty() || !rest.starts_with(&GZIP_MAGIC) {
                return Ok(count);
            }
            if self.further_members == self.further_members_max {
                return Err(invalid("there are too many members of gzip"));
            }
            self.further_members += 1;
            self.member = flate2::bufread::GzDecoder::new(rest);
        }
    }
}

/// The blocks of a snappy stream: those of xerial's framing, or raw snappy, which is one block. librdkafka sends the
/// latter and Kafka takes it.
pub(super) struct SnappyBlocks<'a> {
    rest: &'a [u8],
    raw: bool,
}

/// A block of raw snappy, and how much it says comes out of it, which is possible for its size.
pub(super) struct SnappyBlock<'a> {
    packed: &'a [u8],
    pub unpacked_bytes: usize,
}

impl<'a> SnappyBlocks<'a> {
    pub fn new(bytes: &'a [u8]) -> io::Result<Self> {
        if bytes.is_empty() {
            return Err(invalid("there is nothing, not even an empty block of snappy"));
        }
        let framed = bytes.get(..XERIAL_HEADER_BYTES).is_some_and(|header| header.starts_with(&XERIAL_MAGIC));
        let rest = if framed { &bytes[XERIAL_HEADER_BYTES..] } else { bytes };
        Ok(Self { rest, raw: !framed })
    }

    pub fn next(&mut self) -> io::Result<Option<SnappyBlock<'a>>> {
        let packed = if self.raw { std::mem::take(&mut self.rest) } else { self.framed()? };
        if packed.is_empty() {
            return Ok(None);
        }
        let unpacked_bytes = snap::raw::decompress_len(packed).map_err(io::Error::other)?;
        if unpacked_bytes / SNAPPY_RATIO_MAX > packed.len() {
            return Err(invalid("a block of snappy says that more comes out of it than can"));
        }
        Ok(Some(SnappyBlock { packed, unpacked_bytes }))
    }

    /// The next block of xerial's framing; empty at the end.
    fn framed(&mut self) -> io::Result<&'a [u8]> {
        // Streams may be put one behind the other.
        while self.rest.len() >= XERIAL_HEADER_BYTES && self.rest.starts_with(&XERIAL_MAGIC) {
            self.rest = &self.rest[XERIAL_HEADER_BYTES..];
        }
        // Fewer bytes than a length are the end, for xerial's reader too.
        let Some((length, rest)) = self.rest.split_first_chunk::<4>() else { return Ok(&[]) };
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        if length == 0 {
            return Err(invalid("a block of snappy has no bytes, or fewer"));
        }
        let (packed, rest) = rest.split_at_checked(length).ok_or_else(|| invalid("a block of snappy is cut short"))?;
        self.rest = rest;
        Ok(packed)
    }
}

impl SnappyBlock<'_> {
    /// Unpacks into a buffer of exactly [`SnappyBlock::unpacked_bytes`].
    pub fn unpack(&self, out: &mut [u8]) -> io::Result<()> {
        let count = snap::raw::Decoder::new().decompress(self.packed, out).map_err(io::Error::other)?;
        assert_eq!(count, out.len(), "snappy checks its own length");
        Ok(())
    }
}

/// Unpacks snappy block by block, since a block cannot be unpacked in pieces.
pub(super) struct SnappyReader<'a, B> {
    blocks: SnappyBlocks<'a>,
    block: B,
    read: usize,
}

impl<'a, B: BorrowMut<Vec<u8>>> SnappyReader<'a, B> {
    /// `block` is memory to be used; what it holds is lost.
    pub fn new(bytes: &'a [u8], mut block: B) -> io::Result<Self> {
        block.borrow_mut().clear();
        Ok(Self { blocks: SnappyBlocks::new(bytes)?, block, read: 0 })
    }
}

impl<B: BorrowMut<Vec<u8>>> Read for SnappyReader<'_, B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let memory = self.block.borrow_mut();
        while self.read == memory.len() {
            let Some(block) = self.blocks.next()? else { return Ok(0) };
            memory.clear();
            memory.resize(block.unpacked_bytes, 0);
            self.read = 0;
            block.unpack(memory)?;
        }
        let count = buffer.len().min(memory.len() - self.read);
        buffer[..count].copy_from_slice(&memory[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}

/// One LZ4 frame. What follows it is ignored, as Java does.
pub(super) struct Lz4Reader<'a> {
    decoder: lz4_flex::frame::FrameDecoder<FrameBytes<'a>>,
    ended: bool,
}

/// The bytes of a frame, and whether more were asked for: the decoder takes their end for the end of the frame.
struct FrameBytes<'a> {
    rest: &'a [u8],
    ran_out: bool,
}

impl<'a> Lz4Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> io::Result<Self> {
        // The decoder would also take the older format, whose blocks are larger than any of Kafka's, and blocks that
        // depend on each other, which Java's consumers do not read.
        if !bytes.starts_with(&LZ4_MAGIC) {
            return Err(invalid("this is no frame of LZ4"));
        }
        if bytes.get(LZ4_MAGIC.len()).is_some_and(|flags| flags & LZ4_INDEPENDENT_BLOCKS == 0) {
            return Err(invalid("the blocks of the LZ4 frame depend on each other"));
        }
        let bytes = FrameBytes { rest: bytes, ran_out: false };
        Ok(Self { decoder: lz4_flex::frame::FrameDecoder::new(bytes), ended: false })
    }
}

impl Read for Lz4Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let count = self.decoder.read(buffer)?;
        self.ended = count == 0;
        if self.ended && self.decoder.get_ref().ran_out {
            return Err(invalid("the LZ4 frame is cut short"));
        }
        Ok(count)
    }
}

impl Read for FrameBytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.ran_out |= buffer.len() > self.rest.len();
        self.rest.read(buffer)
    }
}

/// One zstd frame after the other.
pub(super) struct ZstdReader<'a, C> {
    rest: &'a [u8],
    context: C,
    /// Whether all frames that were begun have ended.
    between_frames: bool,
}

impl<'a, C: BorrowMut<DCtx<'static>>> ZstdReader<'a, C> {
    pub fn new(bytes: &'a [u8], mut context: C, window: ZstdWindow) -> io::Result<Self> {
        context.borrow_mut().reset(ResetDirective::SessionOnly).map_err(zstd_error)?;
        context.borrow_mut().set_parameter(DParameter::WindowLogMax(window.log())).map_err(zstd_error)?;
        Ok(Self { rest: bytes, context, between_frames: true })
    }
}

impl<C: BorrowMut<DCtx<'static>>> Read for ZstdReader<'_, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.rest.is_empty() && self.between_frames {
                return Ok(0);
            }
            let mut input = InBuffer::around(self.rest);
            let mut output = OutBuffer::around(buffer);
            let hint = self.context.borrow_mut().decompress_stream(&mut output, &mut input).map_err(zstd_error)?;
            let (taken, given) = (input.pos(), output.pos());
            self.rest = &self.rest[taken..];
            self.between_frames = hint == 0;
            if given > 0 {
                return Ok(given);
            }
            if taken == 0 && !(self.between_frames && self.rest.is_empty()) {
                return Err(invalid("the last zstd frame is cut short"));
            }
        }
    }
}

/// An error of zstd; of the kind `OutOfMemory` where a frame asks for a larger window than it may have.
pub(super) fn zstd_error(code: usize) -> io::Error {
    let is_window = code.wrapping_neg() == ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge as usize;
    let kind = if is_window { io::ErrorKind::OutOfMemory } else { io::ErrorKind::InvalidData };
    io::Error::new(kind, zstd_safe::get_error_name(code))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
