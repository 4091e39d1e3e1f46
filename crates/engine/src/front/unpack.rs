//! Unpacks what `Content-Encoding` names, in steps whose results are bounded however well a body is packed.

use std::io::{self, Write};

use bytes::{Buf, Bytes, BytesMut};
use flate2::write::GzDecoder;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::error::{Exception, code};

/// Packed bytes of gzip that are unpacked at once. Gzip unpacks at most a thousandfold, so one step gives at
/// most 4 MB.
const GZIP_STEP_BYTES: usize = 4 * 1024;

/// What one step of Zstandard gives at most. Four packed bytes can stand for 128 KiB, so a step is bounded by what
/// comes out of it, never by what goes in.
const ZSTD_STEP_BYTES_MAX: usize = 256 * 1024;

/// The largest window of Zstandard: 2 to the power of this, 8 MiB, as RFC 9659 says for HTTP. A decoder holds so
/// much memory for as long as the request lasts.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Unpacks one body.
pub(super) enum Unpacker {
    /// The body is not packed.
    Identity,
    /// `Content-Encoding: gzip`.
    Gzip(Box<GzDecoder<Vec<u8>>>),
    /// `Content-Encoding: zstd`.
    Zstd(ZstdUnpacker),
}

impl Unpacker {
    /// The unpacker for a value of `Content-Encoding`.
    pub(super) fn new(content_encoding: Option<&str>) -> Result<Self, Exception> {
        match content_encoding {
            None | Some("" | "identity") => Ok(Self::Identity),
            Some("gzip") => Ok(Self::Gzip(Box::new(GzDecoder::new(Vec::new())))),
            Some("zstd") => ZstdUnpacker::new()
                .map(Self::Zstd)
                .map_err(|error| garbled(&error)),
            Some(other) => Err(Exception::new(
                code::NOT_IMPLEMENTED,
                "NOT_IMPLEMENTED",
                format!("Content-Encoding {other} is not supported"),
            )),
        }
    }

    /// Whether a further step can give something without further packed bytes.
    pub(super) fn holds_more(&self) -> bool {
        matches!(self, Self::Zstd(zstd) if zstd.holds_more)
    }

    /// Takes some of the packed bytes and gives what they unpack to.
    pub(super) fn step(&mut self, packed: &mut Bytes) -> Result<Bytes, Exception> {
        match self {
            Self::Identity => Ok(std::mem::take(packed)),
            Self::Gzip(decoder) => {
                let step = packed.split_to(packed.len().min(GZIP_STEP_BYTES));
                decoder.write_all(&step).map_err(|error| garbled(&error))?;
                Ok(std::mem::take(decoder.get_mut()).into())
            }
            Self::Zstd(zstd) => zstd.step(packed).map_err(|error| garbled(&error)),
        }
    }

    /// Gives what is left when no more packed bytes come. Fails for a body that does not end where its packing says
    /// that it does: it was cut off.
    pub(super) fn finish(&mut self) -> Result<Bytes, Exception> {
        match self {
            Self::Identity => Ok(Bytes::new()),
            Self::Gzip(decoder) => {
                decoder.try_finish().map_err(|error| garbled(&error))?;
                Ok(std::mem::take(decoder.get_mut()).into())
            }
            Self::Zstd(zstd) if zstd.is_at_end_of_frame => Ok(Bytes::new()),
            Self::Zstd(_) => Err(garbled(&io::Error::from(io::ErrorKind::UnexpectedEof))),
        }
    }
}

/// Unpacks frames of Zstandard, one behind the other.
pub(super) struct ZstdUnpacker {
    decoder: Decoder<'static>,
    is_at_end_of_frame: bool,
    /// The last step filled its room: the decoder may hold more of what it has already taken.
    holds_more: bool,
}

impl ZstdUnpacker {
    fn new() -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(Self {
            decoder,
            is_at_end_of_frame: false,
            holds_more: false,
        })
    }

    fn step(&mut self, packed: &mut Bytes) -> io::Result<Bytes> {
        if self.is_at_end_of_frame {
            if packed.is_empty() {
                return Ok(Bytes::new());
            }
            self.decoder.reinit()?;
        }
        let mut room = BytesMut::zeroed(ZSTD_STEP_BYTES_MAX);
        let (taken, given, hint) = {
            let mut input = InBuffer::around(&packed[..]);
            let mut output = OutBuffer::around(&mut room[..]);
            let hint = self.decoder.run(&mut input, &mut output)?;
            (input.pos(), output.pos(), hint)
        };
        packed.advance(taken);
        room.truncate(given);
        self.is_at_end_of_frame = hint == 0;
        self.holds_more = !self.is_at_end_of_frame && given == ZSTD_STEP_BYTES_MAX;
        Ok(room.freeze())
    }
}

fn garbled(error: &io::Error) -> Exception {
    Exception::new(
        code::CANNOT_DECOMPRESS,
        "CANNOT_DECOMPRESS",
        format!("The request's body cannot be unpacked, or was cut off: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unpacks pieces as a request's body is; also says what the largest step gave.
    fn unpack(coding: &str, pieces: &[&[u8]]) -> Result<(Vec<u8>, usize), Exception> {
        let mut unpacker = Unpacker::new(Some(coding))?;
        let (mut plain, mut largest) = (Vec::new(), 0);
        let mut take = |step: Bytes| {
            largest = largest.max(step.len());
            plain.extend_from_slice(&step);
        };
        for piece in pieces {
            let mut packed = Bytes::copy_from_slice(piece);
            while !packed.is_empty() || unpacker.holds_more() {
                take(unpacker.step(&mut packed)?);
            }
        }
        take(unpacker.finish()?);
        Ok((plain, largest))
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_body_that_was_cut_off_anywhere_is_an_error() {
        let plain: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
        for (coding, packed) in [
            ("gzip", gzip(&plain)),
            ("zstd", zstd::bulk::compress(&plain, 1).unwrap()),
        ] {
            assert_eq!(unpack(coding, &[&packed]).unwrap().0, plain, "{coding}");
            let cuts = (0..packed.len().min(64)).chain((64..packed.len()).step_by(977));
            for cut in cuts.chain([packed.len() - 1]) {
                let error = unpack(coding, &[&packed[..cut]]).expect_err(coding);
                assert_eq!(error.code, code::CANNOT_DECOMPRESS, "{coding} cut at {cut}");
            }
        }
    }

    #[test]
    fn zstandard_is_unpacked_however_it_is_cut_into_pieces_and_frames() {
        let plain = b"one two three ".repeat(100_000);
        let frame = zstd::bulk::compress(&plain, 1).unwrap();
        let two = [frame.as_slice(), &frame].concat();
        for size in [1, 3, 100, two.len()] {
            let pieces: Vec<&[u8]> = two.chunks(size).collect();
            let found = unpack("zstd", &pieces).unwrap().0;
            assert!(found == plain.repeat(2), "in pieces of {size}");
        }
        // The beginning of a second frame is no end either.
        unpack("zstd", &[&two[..frame.len() + 3]]).unwrap_err();
        // What follows a frame and is none is not ignored.
        unpack("zstd", &[&frame, b"and some more"]).unwrap_err();
    }

    #[test]
    fn a_step_is_bounded_however_well_the_body_is_packed() {
        let zeros = vec![0_u8; 64 * 1024 * 1024];
        let packed = zstd::bulk::compress(&zeros, 19).unwrap();
        assert!(packed.len() < 16 * 1024, "{} bytes", packed.len());
        let (found, largest) = unpack("zstd", &[&packed]).unwrap();
        assert_eq!((found.len(), largest), (zeros.len(), ZSTD_STEP_BYTES_MAX));
        let (found, largest) = unpack("gzip", &[&gzip(&zeros)]).unwrap();
        assert_eq!(found.len(), zeros.len());
        assert!(largest <= 5 * 1024 * 1024, "{largest}");
    }

    #[test]
    fn a_window_that_would_take_too_much_memory_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(ZSTD_WINDOW_LOG_MAX + 1).unwrap();
        encoder.write_all(&vec![7; 32 * 1024 * 1024]).unwrap();
        let packed = encoder.finish().unwrap();
        unpack("zstd", &[&packed]).unwrap_err();
    }
}
