//! Packing piece by piece: what goes in is not held, and what comes out goes on.

use std::fmt;
use std::io::{self, Write};

use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective};

use super::read::{XERIAL_MAGIC, zstd_error};
use super::{Compression, Compressor, GZIP_DEFAULT_LEVEL, GZIP_LEVEL_MAX, ZSTD_DEFAULT_LEVEL};

const XERIAL_VERSION: i32 = 1;
pub(super) const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// What comes out of zstd goes on in pieces of this size.
const ZSTD_PIECE_BYTES: usize = 16 * 1024;

/// Packs piece by piece. Without [`Packing::finish`], the end is missing.
pub struct Packing<'a, W: Write>(Sink<'a, W>);

enum Sink<'a, W: Write> {
    None(W),
    Gzip(GzEncoder<W>),
    Snappy(XerialWriter<'a, W>),
    Lz4(Box<FrameEncoder<W>>),
    Zstd(ZstdWriter<'a, W>),
}

struct XerialWriter<'a, W> {
    encoder: &'a mut snap::raw::Encoder,
    /// What is too short to be a block.
    waiting: Vec<u8>,
    packed: Vec<u8>,
    out: W,
}

struct ZstdWriter<'a, W> {
    context: &'a mut CCtx<'static>,
    packed: Box<[u8]>,
    out: W,
}

impl Compressor {
    /// Packs into `out` what is written to it, `size_bytes` in all. The level is that of [`Compressor::compress`].
    ///
    /// # Errors
    /// Those of `out`.
    pub fn packing<W: Write>(
        &mut self,
        codec: Compression,
        level: Option<i32>,
        size_bytes: u64,
        out: W,
    ) -> io::Result<Packing<'_, W>> {
        Ok(Packing(match codec {
            Compression::None => Sink::None(out),
            Compression::Gzip => {
                let level = level.and_then(|level| u32::try_from(level).ok()).unwrap_or(GZIP_DEFAULT_LEVEL);
                Sink::Gzip(GzEncoder::new(out, flate2::Compression::new(level.min(GZIP_LEVEL_MAX))))
            }
            Compression::Snappy => {
                let encoder = self.snappy.get_or_insert_with(|| Box::new(snap::raw::Encoder::new()));
                Sink::Snappy(XerialWriter::new(encoder, out)?)
            }
            Compression::Lz4 => {
                let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
                Sink::Lz4(Box::new(FrameEncoder::with_frame_info(info, out)))
            }
            Compression::Zstd => {
                let context = self.zstd.get_or_insert_with(CCtx::create);
                begin_zstd(context, level, size_bytes)?;
                Sink::Zstd(ZstdWriter { context, packed: vec![0; ZSTD_PIECE_BYTES].into(), out })
            }
        }))
    }
}

/// A frame of so many bytes begins. Who says how many saves memory, and the time that this takes.
pub(super) fn begin_zstd(context: &mut CCtx<'static>, level: Option<i32>, size_bytes: u64) -> io::Result<()> {
    let level = level.unwrap_or(ZSTD_DEFAULT_LEVEL);
    context.reset(ResetDirective::SessionOnly).map_err(zstd_error)?;
    context.set_parameter(CParameter::CompressionLevel(level)).map_err(zstd_error)?;
    context.set_pledged_src_size(Some(size_bytes)).map_err(zstd_error)?;
    Ok(())
}

impl<W: Write> Packing<'_, W> {
    /// Writes what is still inside, and the end.
    ///
    /// # Errors
    /// Those of what it writes to; and where zstd was not given as much as it was told.
    pub fn finish(self) -> io::Result<()> {
        match self.0 {
            Sink::None(_) => Ok(()),
            Sink::Gzip(encoder) => encoder.finish().map(drop),
            Sink::Snappy(writer) => writer.finish(),
            Sink::Lz4(encoder) => encoder.finish().map(drop).map_err(io::Error::other),
            Sink::Zstd(mut writer) => writer.finish(),
        }
    }
}

impl<W: Write> Write for Packing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Sink::None(out) => out.write(bytes),
            Sink::Gzip(encoder) => encoder.write(bytes),
            Sink::Snappy(writer) => writer.write(bytes),
            Sink::Lz4(encoder) => encoder.write(bytes),
            Sink::Zstd(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a, W: Write> XerialWriter<'a, W> {
    fn new(encoder: &'a mut snap::raw::Encoder, mut out: W) -> io::Result<Self> {
        out.write_all(&XERIAL_MAGIC)?;
        out.write_all(&XERIAL_VERSION.to_be_bytes())?;
        out.write_all(&XERIAL_VERSION.to_be_bytes())?;
        Ok(Self { encoder, waiting: Vec::new(), packed: Vec::new(), out })
    }

    /// Takes a whole block where it lies, and gathers what is shorter.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.waiting.is_empty() && bytes.len() >= XERIAL_BLOCK_BYTES {
            self.block(&bytes[..XERIAL_BLOCK_BYTES])?;
            return Ok(XERIAL_BLOCK_BYTES);
        }
        let taken = bytes.len().min(XERIAL_BLOCK_BYTES - self.waiting.len());
        self.waiting.extend_from_slice(&bytes[..taken]);
        if self.waiting.len() == XERIAL_BLOCK_BYTES {
            self.block_of_waiting()?;
        }
        Ok(taken)
    }

    fn finish(mut self) -> io::Result<()> {
        if self.waiting.is_empty() { Ok(()) } else { self.block_of_waiting() }
    }

    fn block_of_waiting(&mut self) -> io::Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.block(&waiting)?;
        waiting.clear();
        self.waiting = waiting;
        Ok(())
    }

    fn block(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.packed.resize(snap::raw::max_compress_len(bytes.len()), 0);
        let length = self.encoder.compress(bytes, &mut self.packed).map_err(io::Error::other)?;
        self.out.write_all(&(length as i32).to_be_bytes())?;
        self.out.write_all(&self.packed[..length])
    }
}

impl<W: Write> ZstdWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut input = InBuffer::around(bytes);
        while input.pos() < bytes.len() {
            self.step(&mut input, ZSTD_EndDirective::ZSTD_e_continue)?;
        }
        Ok(bytes.len())
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut input = InBuffer::around(&[]);
        while self.step(&mut input, ZSTD_EndDirective::ZSTD_e_end)? > 0 {}
        Ok(())
    }

    /// Says how much is still inside.
    fn step(&mut self, input: &mut InBuffer<'_>, directive: ZSTD_EndDirective) -> io::Result<usize> {
        let mut output = OutBuffer::around(&mut *self.packed);
        let left = self.context.compress_stream2(&mut output, input, directive).map_err(zstd_error)?;
        self.out.write_all(output.as_slice())?;
        Ok(left)
    }
}

impl<W: Write> fmt::Debug for Packing<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packing").finish_non_exhaustive()
    }
}
