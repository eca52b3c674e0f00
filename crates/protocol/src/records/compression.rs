//! The codecs of record batches, with a bound on what comes out.
//!
//! The frames are those of the Java client: gzip (RFC 1952); snappy in the framing of xerial's library; LZ4 frames of
//! independent 64 KiB blocks; zstd frames.
//!
//! ```text
//!   xerial:  82 'SNAPPY' 00  version i32  compatible version i32  { length i32, raw snappy }*
//! ```

use std::fmt;
use std::io::{self, Read, Write};

/// Xerial's stream begins with these bytes, then two versions.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
const XERIAL_VERSION: i32 = 1;
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// No block of a snappy stream may unpack to more at once.
const LARGEST_SNAPPY_BLOCK_BYTES: usize = 4 * 1024 * 1024;
/// A zstd frame that wants a larger window than 2^27 bytes is refused, as Kafka's own decoder does.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Kafka's default for zstd.
const ZSTD_DEFAULT_LEVEL: i32 = 3;
/// zlib's default.
const GZIP_DEFAULT_LEVEL: u32 = 6;

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

/// Unpacks `bytes` and appends what comes out, at most `cap_bytes`.
pub fn decompress(
    codec: Compression,
    bytes: &[u8],
    cap_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    if codec == Compression::None {
        if bytes.len() > cap_bytes {
            return Err(CompressionError::TooLarge { cap_bytes });
        }
        out.extend_from_slice(bytes);
        return Ok(());
    }
    let before = out.len();
    let mut reader = decompressor(codec, bytes).map_err(CompressionError::Corrupt)?.take(cap_bytes as u64 + 1);
    reader.read_to_end(out).map_err(CompressionError::Corrupt)?;
    if out.len() - before > cap_bytes {
        out.truncate(before);
        return Err(CompressionError::TooLarge { cap_bytes });
    }
    Ok(())
}

/// Unpacks `bytes` piece by piece, in memory that does not depend on how much comes out.
pub fn decompressor<'a>(codec: Compression, bytes: &'a [u8]) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match codec {
        Compression::None => Box::new(bytes),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
        Compression::Snappy => Box::new(SnappyReader::new(bytes)?),
        Compression::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(bytes)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    })
}

/// Packs `bytes` and appends what comes out. `level` is the codec's own; `None` is Kafka's default.
pub fn compress(codec: Compression, level: Option<i32>, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    match codec {
        Compression::None => out.extend_from_slice(bytes),
        Compression::Gzip => {
            let level = level.and_then(|level| u32::try_from(level).ok()).unwrap_or(GZIP_DEFAULT_LEVEL);
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level.min(9)));
            encoder.write_all(bytes)?;
            encoder.finish()?;
        }
        Compression::Snappy => compress_xerial(bytes, out)?,
        Compression::Lz4 => {
            let info = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out);
            encoder.write_all(bytes)?;
            encoder.finish().map_err(io::Error::other)?;
        }
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(out, level.unwrap_or(ZSTD_DEFAULT_LEVEL))?;
            encoder.write_all(bytes)?;
            encoder.finish()?;
        }
    }
    Ok(())
}

fn compress_xerial(bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&XERIAL_VERSION.to_be_bytes());
    out.extend_from_slice(&XERIAL_VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    let mut block = vec![0; snap::raw::max_compress_len(XERIAL_BLOCK_BYTES)];
    for piece in bytes.chunks(XERIAL_BLOCK_BYTES) {
        let length = encoder.compress(piece, &mut block).map_err(io::Error::other)?;
        out.extend_from_slice(&(length as i32).to_be_bytes());
        out.extend_from_slice(&block[..length]);
    }
    Ok(())
}

/// Unpacks a xerial stream block by block, and raw snappy (which librdkafka accepts too) as a single block.
struct SnappyReader<'a> {
    rest: &'a [u8],
    raw: bool,
    block: Vec<u8>,
    read: usize,
}

impl<'a> SnappyReader<'a> {
    fn new(bytes: &'a [u8]) -> io::Result<Self> {
        let framed = bytes.starts_with(&XERIAL_MAGIC);
        let rest = if framed { bytes.get(XERIAL_HEADER_BYTES..).ok_or_else(corrupt)? } else { bytes };
        Ok(Self { rest, raw: !framed, block: Vec::new(), read: 0 })
    }

    /// Unpacks the next block; false at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        if self.rest.is_empty() {
            return Ok(false);
        }
        let packed = if self.raw {
            std::mem::take(&mut self.rest)
        } else {
            let (length, rest) = self.rest.split_first_chunk::<4>().ok_or_else(corrupt)?;
            let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| corrupt())?;
            let (packed, rest) = rest.split_at_checked(length).ok_or_else(corrupt)?;
            self.rest = rest;
            packed
        };
        // The length that a block claims is compared with a limit before there is memory for it.
        let unpacked = snap::raw::decompress_len(packed).map_err(io::Error::other)?;
        if unpacked > LARGEST_SNAPPY_BLOCK_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a snappy block of more than 4 MiB"));
        }
        self.block.resize(unpacked, 0);
        self.read = 0;
        snap::raw::Decoder::new().decompress(packed, &mut self.block).map_err(io::Error::other)?;
        Ok(true)
    }
}

impl Read for SnappyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.block.len() - self.read);
        buffer[..count].copy_from_slice(&self.block[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}

fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the snappy stream ends too soon or has a negative length")
}

impl fmt::Display for CompressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(error) => write!(f, "the compressed records are damaged: {error}"),
            Self::TooLarge { cap_bytes } => write!(f, "the records unpack to more than {cap_bytes} bytes"),
        }
    }
}

impl std::error::Error for CompressionError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(codec: Compression, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compress(codec, None, bytes, &mut out).expect("memory does not fail");
        out
    }

    #[test]
    fn what_was_packed_comes_out_again() {
        let bytes: Vec<u8> = (0..200_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for codec in Compression::ALL {
            for length in [0, 1, 32 * 1024, 32 * 1024 + 1, bytes.len()] {
                let mut out = vec![9];
                decompress(codec, &packed(codec, &bytes[..length]), length, &mut out).expect("it is whole");
                assert!(out[0] == 9 && out[1..] == bytes[..length], "{codec:?} {length}");
            }
            assert_eq!(Compression::from_id(codec.id()), Some(codec));
            assert_eq!(Compression::from_name(codec.name()), Some(codec));
        }
        assert_eq!(Compression::from_id(5), None);
    }

    #[test]
    fn a_bomb_is_stopped_at_the_cap() {
        let zeros = vec![0; 16 << 20];
        for codec in Compression::ALL {
            let mut out = Vec::new();
            let refused = decompress(codec, &packed(codec, &zeros), 100_000, &mut out).expect_err("it is larger");
            assert!(matches!(refused, CompressionError::TooLarge { cap_bytes: 100_000 }), "{codec:?} {refused}");
            assert!(out.capacity() < 1 << 20, "{codec:?} took {}", out.capacity());
        }
        let claims_4_gib = [0xff, 0xff, 0xff, 0xff, 0x0f];
        let mut out = Vec::new();
        decompress(Compression::Snappy, &claims_4_gib, usize::MAX - 1, &mut out).expect_err("nothing follows");
        assert_eq!(out.capacity(), 0);
    }

    #[test]
    fn damaged_bytes_are_an_error_and_no_panic() {
        let bytes: Vec<u8> = (0..5000u32).flat_map(|n| n.to_le_bytes()).collect();
        let mut random = ottla_base::Random::new(11);
        for codec in Compression::ALL {
            let whole = packed(codec, &bytes);
            for _ in 0..300 {
                let mut damaged = whole[..random.below(whole.len() as u64 + 1) as usize].to_vec();
                if !damaged.is_empty() {
                    let at = random.below(damaged.len() as u64) as usize;
                    damaged[at] ^= random.next_u64() as u8;
                }
                let _ = decompress(codec, &damaged, 1 << 20, &mut Vec::new());
            }
        }
    }
}
