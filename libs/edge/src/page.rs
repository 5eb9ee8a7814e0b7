use parta_access::Caller;
use parta_database::Db;
use parta_status::{FieldViolations, RpcError};
use serde::{Serialize, de::DeserializeOwned};

use crate::page_token::{self, PageKey, page_size};

/// A page as it was requested.
#[derive(Debug, Clone)]
pub struct PageRequest {
    size: u64,
    token: String,
    /// The other parameters of the list; a token of another list is refused.
    filter: String,
}

/// A page of a list.
#[derive(Debug)]
pub struct Page<V> {
    /// At most as many as were requested.
    pub items: Vec<V>,
    /// The token of the next page; empty on the last page.
    pub next_page_token: String,
}

impl<V> Page<V> {
    /// Converts each item.
    pub fn map<W>(self, convert: impl FnMut(V) -> W) -> Page<W> {
        Page {
            items: self.items.into_iter().map(convert).collect(),
            next_page_token: self.next_page_token,
        }
    }

    /// Converts each item; returns the first error.
    pub fn try_map<W, E>(self, convert: impl FnMut(V) -> Result<W, E>) -> Result<Page<W>, E> {
        Ok(Page {
            items: self.items.into_iter().map(convert).collect::<Result<_, E>>()?,
            next_page_token: self.next_page_token,
        })
    }
}

impl PageRequest {
    /// Decodes the fields `page_size` (50 by default, at most 200) and `page_token`. `filter` holds
    /// everything else that selects the list.
    pub fn decode(violations: &mut FieldViolations, size: i32, token: &str, filter: String) -> Option<Self> {
        let Ok(size) = page_size(size) else {
            violations.add("page_size", "must not be negative");
            return None;
        };
        Some(Self {
            size,
            token: token.to_owned(),
            filter,
        })
    }

    /// Decodes as [`PageRequest::decode`] does, for a list whose pages may have more than 200 items, at
    /// most `max`.
    pub fn decode_up_to(
        max: i32,
        violations: &mut FieldViolations,
        size: i32,
        token: &str,
        filter: String,
    ) -> Option<Self> {
        let mut page = Self::decode(violations, size, token, filter)?;
        page.size = page.size.max(u64::try_from(size.min(max)).unwrap_or(0));
        Some(page)
    }

    /// The key of the last item of the page before; `None` on the first page. Refuses a token that this
    /// list did not return to this caller.
    pub fn after<K: DeserializeOwned>(
        &self,
        db: &impl AsRef<Db>,
        caller: &Caller,
    ) -> Result<Option<K>, RpcError> {
        page_token::decode(&PageKey::new(db.as_ref()), caller, &self.filter, &self.token)
    }

    /// The number of rows to read: one more than the page has, to know whether another page follows.
    pub fn limit(&self) -> u64 {
        self.size + 1
    }

    /// Makes the page from at most [`PageRequest::limit`] rows in the order of their keys.
    pub fn page<R, K: Serialize>(
        &self,
        db: &impl AsRef<Db>,
        caller: &Caller,
        mut items: Vec<R>,
        key: impl Fn(&R) -> K,
    ) -> Page<R> {
        let more = items.len() as u64 > self.size;
        items.truncate(usize::try_from(self.size).unwrap_or(usize::MAX));
        let last = items.last().filter(|_| more);
        let next_page_token = last
            .map(|row| page_token::encode(&PageKey::new(db.as_ref()), caller, &self.filter, &key(row)))
            .unwrap_or_default();
        Page {
            items,
            next_page_token,
        }
    }
}
