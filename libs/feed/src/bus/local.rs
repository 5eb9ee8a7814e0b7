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

const WAITING: usize = 1024;

/// The bus of one process. A subscriber that lags behind loses the oldest messages.
#[derive(Clone, Default)]
pub struct LocalBus {
    subjects: Arc<Mutex<HashMap<String, broadcast::Sender<Bytes>>>>,
    alone: bool,
}

impl LocalBus {
    /// A bus that nobody listens to yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One for a process that has at most one replica of each service.
    pub fn alone() -> Self {
        Self {
            alone: true,
            ..Self::default()
        }
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError> {
        let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        // Without a subscriber there is nobody to tell, and the subject is forgotten.
        if subjects
            .get(subject)
            .is_some_and(|sender| sender.send(payload).is_err())
        {
            subjects.remove(subject);
        }
        Ok(())
    }

    fn reaches_replicas(&self) -> bool {
        !self.alone
    }

    async fn subscribe(&self, subject: &str) -> Result<BoxStream<'static, Bytes>, BusError> {
        let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = subjects
            .entry(subject.to_owned())
            .or_insert_with(|| broadcast::Sender::new(WAITING));
        let stream = BroadcastStream::new(sender.subscribe());
        Ok(stream.filter_map(|item| std::future::ready(item.ok())).boxed())
    }
}
