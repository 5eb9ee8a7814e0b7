//! The events of a snapshot.
use std::marker::PhantomData;

use prost::DecodeError;

use crate::FeedEvent;

/// Largest number of events that are decoded at a time.
const PART: usize = 256;

/// The current state of an organization, as the events that build it from nothing. They are held encoded,
/// which takes a fraction of the memory of decoded ones, and are decoded part by part.
pub struct Snapshot<E> {
    parts: Vec<Vec<u8>>,
    len: usize,
    bytes: usize,
    has_unknown: bool,
    event: PhantomData<fn() -> E>,
}

impl<E> Default for Snapshot<E> {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            len: 0,
            bytes: 0,
            has_unknown: false,
            event: PhantomData,
        }
    }
}

impl<E: FeedEvent> Snapshot<E> {
    pub(crate) fn push(&mut self, event: &E) {
        self.has_unknown |= event.payload().is_none();
        if self.len.is_multiple_of(PART) {
            if let Some(last) = self.parts.last_mut() {
                last.shrink_to_fit();
            }
            self.parts.push(Vec::new());
        }
        if let Some(last) = self.parts.last_mut() {
            let before = last.len();
            last.extend_from_slice(&event.encode_length_delimited_to_vec());
            self.bytes += last.len() - before;
            self.len += 1;
        }
    }

    /// Returns the number of events.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the size of the encoded events.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether an event is of a kind that this build does not know.
    pub(crate) fn has_unknown(&self) -> bool {
        self.has_unknown
    }

    /// Returns the events in order, at most 256 at a time.
    pub fn parts(&self) -> impl Iterator<Item = Result<Vec<E>, DecodeError>> + Send {
        self.parts.iter().map(|part| decode(part))
    }

    /// Returns the events in order, and frees each part once it is decoded.
    pub(crate) fn into_parts(self) -> impl Iterator<Item = Result<Vec<E>, DecodeError>> + Send + 'static {
        self.parts.into_iter().map(|part| decode(&part))
    }
}

fn decode<E: FeedEvent>(part: &[u8]) -> Result<Vec<E>, DecodeError> {
    let (mut rest, mut events) = (part, Vec::new());
    while !rest.is_empty() {
        events.push(E::decode_length_delimited(&mut rest)?);
    }
    Ok(events)
}

impl<E: FeedEvent> FromIterator<E> for Snapshot<E> {
    fn from_iter<T: IntoIterator<Item = E>>(events: T) -> Self {
        let mut snapshot = Self::default();
        for event in events {
            snapshot.push(&event);
        }
        snapshot
    }
}
