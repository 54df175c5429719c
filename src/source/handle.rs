//! An open file, plain or compressed, read by offset of its decompressed bytes. Knows no identity and no policy.
//! Invariant: a compressed file is decoded forwards in bounded memory; going back starts anew.

use std::{
    io::{self, BufReader, Read},
    sync::Arc,
};

use crate::{
    model::Codec,
    source::fs::{Cursor, File, Stat},
};

/// What a read brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Got {
    pub len: usize,
    /// These bytes reach the end of the file as it is now.
    pub end_of_file: bool,
}

/// A file being read.
pub struct Handle<F> {
    file: Arc<F>,
    codec: Codec,
    decoder: Option<Decoder>,
}

struct Decoder {
    reader: Box<dyn Read + Send>,
    /// Bytes decoded so far.
    position: u64,
    /// The last of them: what a reader that steps back a little asks for again.
    window: Vec<u8>,
}

impl<F: File + Send + Sync + 'static> Handle<F> {
    pub fn new(file: F, codec: Codec) -> Self {
        Self { file: Arc::new(file), codec, decoder: None }
    }

    /// Reads at `offset` of the decompressed bytes. An archive that ends too early (it is still being written, or
    /// broken) is an error once what it holds was read.
    pub fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<Got> {
        if self.codec == Codec::Plain {
            let len = self.file.read_at(buf, offset)?;
            return Ok(Got { len, end_of_file: len < buf.len() });
        }
        let mut decoder = match self.decoder.take() {
            Some(decoder) if decoder.position - decoder.window.len() as u64 <= offset => decoder,
            _ => self.start_decoding()?,
        };
        if !decoder.skip_to(offset, buf)? {
            return Ok(Got { len: 0, end_of_file: true });
        }
        let got = decoder.fill(buf, offset)?;
        self.decoder = Some(decoder);
        Ok(got)
    }

    fn start_decoding(&self) -> io::Result<Decoder> {
        let input = BufReader::with_capacity(64 << 10, Cursor::new(Arc::clone(&self.file)));
        let reader: Box<dyn Read + Send> = match self.codec {
            Codec::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Codec::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
            Codec::Plain => Box::new(input),
        };
        Ok(Decoder { reader, position: 0, window: Vec::new() })
    }
}

impl Decoder {
    /// Decodes up to `offset`, with `scratch` for what is passed over. False: the file ends before.
    fn skip_to(&mut self, offset: u64, scratch: &mut [u8]) -> io::Result<bool> {
        while self.position < offset {
            let skip = usize::try_from(offset - self.position).unwrap_or(usize::MAX);
            let room = scratch.len().min(skip);
            let n = self.reader.read(&mut scratch[..room])?;
            if n == 0 {
                return Ok(false);
            }
            self.position += n as u64;
            self.window.clear();
        }
        Ok(true)
    }

    /// Fills `buf` with the bytes from `offset` on: first those of the window, then new ones.
    fn fill(&mut self, buf: &mut [u8], offset: u64) -> io::Result<Got> {
        let back = usize::try_from(self.position - offset).expect("the window is no longer than a buffer");
        let again = &self.window[self.window.len() - back..];
        let mut total = again.len().min(buf.len());
        buf[..total].copy_from_slice(&again[..total]);
        let mut end_of_file = false;
        while total < buf.len() {
            match self.reader.read(&mut buf[total..]) {
                Ok(0) => {
                    end_of_file = true;
                    break;
                }
                Ok(n) => {
                    total += n;
                    self.position += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // What came before the fault is good; the fault comes again with the next read.
                Err(_) if total > back => break,
                Err(e) => return Err(e),
            }
        }
        if total >= back {
            self.window.clear();
            self.window.extend_from_slice(&buf[..total]);
        }
        Ok(Got { len: total, end_of_file })
    }
}

impl<F: File> File for Arc<F> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buf, offset)
    }

    fn stat(&self) -> io::Result<Stat> {
        (**self).stat()
    }
}

/// How a file is stored, by its name and its first bytes together: a log that merely begins like an archive is a log.
pub fn codec_of(name: &std::path::Path, first: &[u8]) -> Codec {
    match name.extension().and_then(|e| e.to_str()) {
        Some("gz") if first.starts_with(&[0x1F, 0x8B]) => Codec::Gzip,
        Some("zst" | "zstd") if first.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) => Codec::Zstd,
        _ => Codec::Plain,
    }
}
