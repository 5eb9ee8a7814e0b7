//! Receives a set of files in chunks.
use std::collections::BTreeMap;

use bytes::BytesMut;
use parta_status::{RpcError, invalid};
use sha2::{Digest as _, Sha256};

use super::{files, set::Files};

/// The largest size of one set, in bytes.
const SET_MAX_BYTES: usize = 64 * 1024 * 1024;

/// A set of files that is being received.
#[derive(Default)]
pub(super) struct Upload {
    files: BTreeMap<&'static str, BytesMut>,
    /// The file whose chunks are being received.
    open: Option<&'static str>,
    size: usize,
}

impl Upload {
    /// Appends a chunk to a file. Fails if the set would exceed the limit.
    pub(super) fn append(&mut self, file_name: &str, data: &[u8]) -> Result<(), RpcError> {
        let name = files::accepted_name(file_name);
        let name = name.ok_or_else(|| invalid("chunk.file_name", "is no file of OneRoster"))?;
        if self.open != Some(name) && self.files.contains_key(name) {
            return Err(invalid("chunk.file_name", "the file came before"));
        }
        self.open = Some(name);
        self.size += data.len();
        if self.size > SET_MAX_BYTES {
            return Err(invalid("chunk.data", "the files must not exceed 64 MiB"));
        }
        self.files.entry(name).or_default().extend_from_slice(data);
        Ok(())
    }

    /// Returns a hash of the names and contents. It does not depend on the sizes of the chunks.
    pub(super) fn hash(&self) -> Vec<u8> {
        let mut all = Sha256::new();
        for (name, data) in &self.files {
            all.update(name);
            all.update(Sha256::digest(data));
        }
        all.finalize().to_vec()
    }

    /// Returns the received files.
    pub(super) fn into_files(self) -> Files {
        let frozen = self.files.into_iter().map(|(name, data)| (name, data.freeze()));
        frozen.collect()
    }
}
