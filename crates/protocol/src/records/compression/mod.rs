//! The codecs of record batches, with a bound on what comes out.
//!
//! The frames are those of the Java client: gzip (RFC 1952); snappy in the framing of xerial's library; LZ4 frames of
//! independent 64 KiB blocks; zstd frames. Raw snappy is read too, because librdkafka sends it and Kafka takes it.
//!
//! ```text
//!   xerial:  82 'SNAPPY' 00  version i32  compatible version i32  { length i32, raw snappy }*
//! ```
//!
//! Who packs or unpacks more than now and then keeps a [`Compressor`] or [`Decompressor`], which keep their memory.

mod read;
mod write;

use std::fmt;
use std::io::{self, Read, Write};

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{CCtx, DCtx, InBuffer, OutBuffer, compress_bound};

use super::batch::Batch;
use super::record::RecordIter;
pub use read::ZstdWindow;
use read::{GzipReader, Lz4Reader, SnappyBlocks, SnappyReader, ZstdReader, zstd_error};
pub use write::Packing;
use write::begin_zstd;

/// Kafka's default for zstd.
const ZSTD_DEFAULT_LEVEL: i32 = 3;
/// zlib's default, which Kafka calls -1.
const GZIP_DEFAULT_LEVEL: u32 = 6;
const GZIP_LEVEL_MAX: u32 = 9;
/// What is unpacked at first, before more memory is taken.
const UNPACK_AT_FIRST_BYTES: usize = 16 * 1024;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Snappy, in xerial's framing.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Why bytes cannot be unpacked.
#[derive(Debug)]
pub enum CompressionError {
    /// They are damaged, or of another codec.
    Corrupt(io::Error),
    /// More would come out than is allowed.
    TooLarge {
        /// How much is.
        cap_bytes: usize,
    },
    /// The batch names a codec that does not exist.
    UnknownCodec,
}

/// Packs, and keeps the memory that this takes.
#[derive(Default)]
pub struct Compressor {
    zstd: Option<CCtx<'static>>,
    snappy: Option<Box<snap::raw::Encoder>>,
}

/// Unpacks, and keeps the memory that this takes.
#[derive(Default)]
pub struct Decompressor {
    zstd: Option<DCtx<'static>>,
    snappy_block: Vec<u8>,
}

/// Unpacks piece by piece.
pub struct Unpacking<'a>(Source<'a>);

enum Source<'a> {
    None(&'a [u8]),
    Gzip(Box<GzipReader<'a>>),
    Snappy(SnappyReader<'a, &'a mut Vec<u8>>),
    Lz4(Box<Lz4Reader<'a>>),
    Zstd(ZstdReader<'a, &'a mut DCtx<'static>>),
}

impl Compression {
    /// All of them, by id.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec with this id in a batch's attributes.
    pub fn from_id(id: i8) -> Option<Self> {
        usize::try_from(id).ok().and_then(|id| Self::ALL.get(id)).copied()
    }

    /// Its id.
    pub fn id(self) -> i8 {
        self as i8
    }

    /// The name in settings and tools.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

impl Decompressor {
    /// Unpacks `bytes` and appends what comes out, at most `cap_bytes`. Never takes memory for more than that, but for
    /// what the codecs need to work: at most 8 MiB for LZ4, and for zstd the window, at most 128 MiB, of which only
    /// the part is touched that something was unpacked into.
    ///
    /// # Errors
    /// `out` holds what it held before.
    pub fn decompress(
        &mut self,
        codec: Compression,
        bytes: &[u8],
        cap_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        let before = out.len();
        let unpacked = match codec {
            Compression::None if bytes.len() > cap_bytes => Err(CompressionError::TooLarge { cap_bytes }),
            Compression::None => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            Compression::Snappy => decompress_snappy(bytes, cap_bytes, out),
            _ => self
                .reader(codec, bytes)
                .map_err(CompressionError::Corrupt)
                .and_then(|reader| drain(reader, cap_bytes, out)),
        };
        if unpacked.is_err() {
            out.truncate(before);
        }
        unpacked
    }

    /// Unpacks `bytes` piece by piece, in memory that does not depend on how much comes out; with snappy, which has no
    /// pieces, in 22 times the largest block at the most.
    ///
    /// # Errors
    /// The first bytes are already wrong.
    pub fn reader<'a>(&'a mut self, codec: Compression, bytes: &'a [u8]) -> io::Result<Unpacking<'a>> {
        self.reader_within(codec, bytes, ZstdWindow::Large)
    }

    /// Like [`Decompressor::reader`]. Where zstd asks for a larger `window`, this or a read fails with the kind
    /// [`io::ErrorKind::OutOfMemory`].
    ///
    /// # Errors
    /// The first bytes are already wrong.
    pub fn reader_within<'a>(
        &'a mut self,
        codec: Compression,
        bytes: &'a [u8],
        window: ZstdWindow,
    ) -> io::Result<Unpacking<'a>> {
        Ok(Unpacking(match codec {
            Compression::None => Source::None(bytes),
            Compression::Gzip => Source::Gzip(Box::new(GzipReader::new(bytes))),
            Compression::Snappy => Source::Snappy(SnappyReader::new(bytes, &mut self.snappy_block)?),
            Compression::Lz4 => Source::Lz4(Box::new(Lz4Reader::new(bytes)?)),
            Compression::Zstd => {
                let context = self.zstd.get_or_insert_with(DCtx::create);
                Source::Zstd(ZstdReader::new(bytes, context, window)?)
            }
        }))
    }

    /// The records of a batch, unpacked into `out` (which is cleared) where they are packed, and left where they lie
    /// where not.
    ///
    /// # Errors
    /// More than `cap_bytes` would come out, or the codec gives up. What the records are is for the iterator to say.
    pub fn records<'a>(
        &mut self,
        batch: &Batch<'a>,
        cap_bytes: usize,
        out: &'a mut Vec<u8>,
    ) -> Result<RecordIter<'a>, CompressionError> {
        let codec = batch.header().compression().ok_or(CompressionError::UnknownCodec)?;
        if codec == Compression::None {
            return Ok(RecordIter::new(batch.header(), batch.records()));
        }
        out.clear();
        self.decompress(codec, batch.records(), cap_bytes, out)?;
        Ok(RecordIter::new(batch.header(), out))
    }

    /// Gives back what memory it has beyond `kept_bytes` for each codec.
    pub fn trim(&mut self, kept_bytes: usize) {
        if self.zstd.as_ref().is_some_and(|context| context.sizeof() > kept_bytes) {
            self.zstd = None;
        }
        self.snappy_block.clear();
        self.snappy_block.shrink_to(kept_bytes);
    }
}

impl Compressor {
    /// Packs `bytes` and appends what comes out. `level` is the codec's own, cut to what it knows; `None` is Kafka's
    /// default. LZ4 and snappy have one level only.
    ///
    /// # Errors
    /// None of the codecs fails for bytes in memory; what they report is passed on all the same.
    pub fn compress(
        &mut self,
        codec: Compression,
        level: Option<i32>,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        if codec == Compression::Zstd {
            return compress_zstd(self.zstd.get_or_insert_with(CCtx::create), level, bytes, out);
        }
        let mut packing = self.packing(codec, level, bytes.len() as u64, out)?;
        packing.write_all(bytes)?;
        packing.finish()
    }

    /// Gives back what memory it has beyond `kept_bytes`.
    pub fn trim(&mut self, kept_bytes: usize) {
        if self.zstd.as_ref().is_some_and(|context| context.sizeof() > kept_bytes) {
            self.zstd = None;
        }
    }
}

/// Unpacks once; see [`Decompressor::decompress`].
///
/// # Errors
/// Those of [`Decompressor::decompress`].
pub fn decompress(
    codec: Compression,
    bytes: &[u8],
    cap_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    Decompressor::default().decompress(codec, bytes, cap_bytes, out)
}

/// Unpacks piece by piece, once; see [`Decompressor::reader`].
///
/// # Errors
/// Those of [`Decompressor::reader`].
pub fn decompressor<'a>(codec: Compression, bytes: &'a [u8]) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match codec {
        Compression::None => Box::new(bytes),
        Compression::Gzip => Box::new(GzipReader::new(bytes)),
        Compression::Snappy => Box::new(SnappyReader::new(bytes, Vec::new())?),
        Compression::Lz4 => Box::new(Lz4Reader::new(bytes)?),
        Compression::Zstd => Box::new(ZstdReader::new(bytes, DCtx::create(), ZstdWindow::Large)?),
    })
}

/// Packs once; see [`Compressor::compress`].
///
/// # Errors
/// Those of [`Compressor::compress`].
pub fn compress(codec: Compression, level: Option<i32>, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    Compressor::default().compress(codec, level, bytes, out)
}

/// Reads all there is.
fn drain(mut reader: impl Read, cap_bytes: usize, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let before = out.len();
    let mut filled = before;
    loop {
        if filled == out.len() {
            let room = cap_bytes - (filled - before);
            if room == 0 {
                break;
            }
            grow(out, (filled - before).max(UNPACK_AT_FIRST_BYTES).min(room), room);
        }
        match reader.read(&mut out[filled..]) {
            Ok(0) => {
                out.truncate(filled);
                return Ok(());
            }
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CompressionError::Corrupt(error)),
        }
    }
    match reader.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(CompressionError::TooLarge { cap_bytes }),
        Err(error) => Err(CompressionError::Corrupt(error)),
    }
}

/// Snappy says beforehand how much comes out, so that each block is unpacked to where it belongs.
fn decompress_snappy(bytes: &[u8], cap_bytes: usize, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let before = out.len();
    let mut blocks = SnappyBlocks::new(bytes).map_err(CompressionError::Corrupt)?;
    while let Some(block) = blocks.next().map_err(CompressionError::Corrupt)? {
        let filled = out.len();
        let room = cap_bytes - (filled - before);
        if block.unpacked_bytes > room {
            return Err(CompressionError::TooLarge { cap_bytes });
        }
        grow(out, block.unpacked_bytes, room);
        block.unpack(&mut out[filled..]).map_err(CompressionError::Corrupt)?;
    }
    Ok(())
}

/// Makes `out` longer by `more`. Where this takes memory, it takes enough to double, but never beyond the `room` that is
/// left under the cap.
fn grow(out: &mut Vec<u8>, more: usize, room: usize) {
    if out.capacity() - out.len() < more {
        out.reserve_exact(more.max(out.len()).min(room));
    }
    out.resize(out.len() + more, 0);
}

/// All at once, which takes no buffers in between.
fn compress_zstd(context: &mut CCtx<'static>, level: Option<i32>, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    begin_zstd(context, level, bytes.len() as u64)?;
    out.reserve(compress_bound(bytes.len()));
    let mut input = InBuffer::around(bytes);
    let before = out.len();
    let mut output = OutBuffer::around_pos(out, before);
    let left = context.compress_stream2(&mut output, &mut input, ZSTD_EndDirective::ZSTD_e_end).map_err(zstd_error)?;
    assert_eq!(left, 0, "there is room for the worst case");
    Ok(())
}

impl Unpacking<'_> {
    /// Lets a read fail where more members of gzip follow the first. Each takes time to begin, though nothing may come out.
    pub fn limit_further_members(&mut self, most: usize) {
        if let Source::Gzip(reader) = &mut self.0 {
            reader.further_members_max = most;
        }
    }

    /// How many members of gzip were begun behind the first.
    pub fn further_members(&self) -> usize {
        if let Source::Gzip(reader) = &self.0 { reader.further_members } else { 0 }
    }
}

impl Read for Unpacking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::None(bytes) => bytes.read(buffer),
            Source::Gzip(reader) => reader.read(buffer),
            Source::Snappy(reader) => reader.read(buffer),
            Source::Lz4(reader) => reader.read(buffer),
            Source::Zstd(reader) => reader.read(buffer),
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

impl fmt::Debug for Unpacking<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacking").finish_non_exhaustive()
    }
}

impl fmt::Display for CompressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(error) => write!(f, "the compressed records are damaged: {error}"),
            Self::TooLarge { cap_bytes } => write!(f, "the records unpack to more than {cap_bytes} bytes"),
            Self::UnknownCodec => f.write_str("the batch names a codec that does not exist"),
        }
    }
}

impl std::error::Error for CompressionError {}

#[cfg(test)]
mod tests;
