use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use parta_proto::parta::status::v1::ErrorReason;
use parta_status::RpcError;
use tokio::sync::Semaphore;

use crate::step::{Next, RpcRequest, RpcResult, Step};

/// The maximum number of concurrent calls per service and server. Calls beyond it are refused, never queued.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Unary calls.
    pub calls: usize,
    /// Open streams, which are counted separately because they last for hours.
    pub streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 1024,
            streams: 16_384,
        }
    }
}

struct Counters {
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

pub(super) struct Shed {
    limits: Limits,
    /// Counters by owning service: overload of one service must not refuse calls of others in the same
    /// process.
    services: Mutex<HashMap<&'static str, Arc<Counters>>>,
}

impl Shed {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            services: Mutex::default(),
        }
    }

    fn counters(&self, owner: &'static str) -> Arc<Counters> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let Limits { calls, streams } = self.limits;
        services
            .entry(owner)
            .or_insert_with(|| {
                let semaphore = |n| Arc::new(Semaphore::new(n));
                Arc::new(Counters {
                    calls: semaphore(calls),
                    streams: semaphore(streams),
                })
            })
            .clone()
    }
}

impl Step for Shed {
    fn name(&self) -> &'static str {
        "shed"
    }

    fn call<'a>(&'a self, call: RpcRequest, next: Next<'a>) -> BoxFuture<'a, RpcResult> {
        Box::pin(async move {
            let Some(method) = call.method else {
                return next.run(call).await;
            };
            let counters = self.counters(method.owner);
            let semaphore = if method.streaming {
                &counters.streams
            } else {
                &counters.calls
            };
            let Ok(permit) = semaphore.clone().try_acquire_owned() else {
                let refusal = RpcError::new(
                    ErrorReason::Overloaded,
                    "The server is overloaded. Try again in a moment.",
                );
                return Err(refusal.retry_after(Duration::from_secs(1)).into());
            };
            let mut answer = next.run(call).await?;
            // The permit is held until the response is delivered.
            answer.guard.permit = Some(permit);
            Ok(answer)
        })
    }
}
