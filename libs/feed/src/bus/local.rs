use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use super::{Bus, BusError};

/// Number of messages that a subscriber may lag behind.
const CAPACITY: usize = 1024;

/// The in-process bus. A subscriber that lags behind loses the oldest messages.
#[derive(Clone, Default)]
pub struct LocalBus {
    subjects: Arc<Mutex<HashMap<String, broadcast::Sender<Bytes>>>>,
    is_single_replica: bool,
}

impl LocalBus {
    /// Returns a bus without subscribers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a bus for a process that has at most one replica of each service.
    pub fn single_replica() -> Self {
        Self {
            is_single_replica: true,
            ..Self::default()
        }
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError> {
        let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        // A subject without subscribers is removed.
        if subjects
            .get(subject)
            .is_some_and(|sender| sender.send(payload).is_err())
        {
            subjects.remove(subject);
        }
        Ok(())
    }

    fn reaches_replicas(&self) -> bool {
        !self.is_single_replica
    }

    async fn subscribe(&self, subject: &str) -> Result<BoxStream<'static, Bytes>, BusError> {
        let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = subjects
            .entry(subject.to_owned())
            .or_insert_with(|| broadcast::Sender::new(CAPACITY));
        let stream = BroadcastStream::new(sender.subscribe());
        Ok(stream.filter_map(|item| std::future::ready(item.ok())).boxed())
    }
}
