//! The content: chunks of 64 KiB, each encrypted for itself, of which the last one is marked.
use std::io::{self, BufRead, Read, Write};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::{KEY_BYTES, damaged};

const CHUNK_BYTES: usize = 64 * 1024;

/// The key of the content, and the number of the next chunk.
struct Chunks {
    key: LessSafeKey,
    next: u64,
}

impl Chunks {
    fn new(key: &[u8; KEY_BYTES]) -> io::Result<Self> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(io::Error::other)?;
        Ok(Self {
            key: LessSafeKey::new(key),
            next: 0,
        })
    }

    /// Returns a nonce that is never used again: the number of the chunk, and whether it is the last one.
    fn nonce(&mut self, is_last: bool) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[3..11].copy_from_slice(&self.next.to_be_bytes());
        nonce[11] = u8::from(is_last);
        self.next += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Encrypts what is written. [`Self::finish`] must be called in the end.
pub(crate) struct Encrypting<W> {
    to: W,
    chunks: Chunks,
    /// The content of the next chunk. A full one waits until it is known whether it is the last.
    chunk: Vec<u8>,
}

impl<W: Write> Encrypting<W> {
    pub(super) fn new(to: W, key: &[u8; KEY_BYTES]) -> io::Result<Self> {
        Ok(Self {
            to,
            chunks: Chunks::new(key)?,
            chunk: Vec::with_capacity(CHUNK_BYTES + CHACHA20_POLY1305.tag_len()),
        })
    }

    fn write_chunk(&mut self, is_last: bool) -> io::Result<()> {
        let nonce = self.chunks.nonce(is_last);
        self.chunks
            .key
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut self.chunk)
            .map_err(io::Error::other)?;
        self.to.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }

    /// Writes the last chunk.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.write_chunk(true)?;
        Ok(self.to)
    }
}

impl<W: Write> Write for Encrypting<W> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK_BYTES && !from.is_empty() {
            self.write_chunk(false)?;
        }
        let bytes = from.len().min(CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&from[..bytes]);
        Ok(bytes)
    }

    /// Chunks that are not full cannot be written before the end.
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Decrypts what is read. A reader that has reached the end has read everything that was encrypted.
pub(crate) struct Decrypting<R> {
    from: R,
    chunks: Chunks,
    chunk: Vec<u8>,
    /// The part of the chunk that was read.
    read: usize,
    is_last: bool,
}

impl<R: BufRead> Decrypting<R> {
    pub(super) fn new(from: R, key: &[u8; KEY_BYTES]) -> io::Result<Self> {
        Ok(Self {
            from,
            chunks: Chunks::new(key)?,
            chunk: Vec::new(),
            read: 0,
            is_last: false,
        })
    }

    fn read_chunk(&mut self) -> io::Result<()> {
        let full = CHUNK_BYTES + CHACHA20_POLY1305.tag_len();
        self.chunk.clear();
        self.read = 0;
        self.from
            .by_ref()
            .take(full as u64)
            .read_to_end(&mut self.chunk)?;
        self.is_last = self.chunk.len() < full || self.from.fill_buf()?.is_empty();
        let is_first = self.chunks.next == 0;
        let nonce = self.chunks.nonce(self.is_last);
        let opened = self
            .chunks
            .key
            .open_in_place(nonce, Aad::empty(), &mut self.chunk);
        let bytes = opened.map_err(|_| damaged("its content"))?.len();
        if bytes == 0 && !is_first {
            return Err(damaged("its end"));
        }
        self.chunk.truncate(bytes);
        Ok(())
    }
}

impl<R: BufRead> Read for Decrypting<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.read == self.chunk.len() && !self.is_last {
            self.read_chunk()?;
        }
        let bytes = to.len().min(self.chunk.len() - self.read);
        to[..bytes].copy_from_slice(&self.chunk[self.read..self.read + bytes]);
        self.read += bytes;
        Ok(bytes)
    }
}
