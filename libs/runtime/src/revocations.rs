//! The poll of the credentials that membership has revoked: one for each process, because its services share
//! one verifier.
use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use parta_access::{MAX_REVOCATIONS, Revoked, Verifier};
use parta_grpc::ServiceChannel;
use parta_ids::TypedId;
use parta_proto_membership::internal::v1::{
    GetRevocationsRequest, revocation_service_client::RevocationServiceClient,
};
use parta_status::error_chain;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::Task;

/// The pause between a response and the next poll.
const INTERVAL: Duration = Duration::from_millis(500);
/// The pause after a poll that failed before the first response, without which the process is not ready.
/// While a cluster starts, membership often is the last to come.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A replica of membership that sends nothing for this long has failed the poll. The next poll goes to
/// another one.
const LIMIT: Duration = Duration::from_secs(1);
/// The limit of the first poll. A new replica of membership has read no list yet, and a long one takes time.
const FIRST_LIMIT: Duration = Duration::from_secs(10);
/// Failures for this long are reported. The verifier then refuses people.
const REPORT_AFTER: Duration = Duration::from_secs(30);

/// Returns the task that polls membership and passes its responses to the verifier.
pub(crate) fn task(membership: ServiceChannel, verifier: Arc<Verifier>) -> Task {
    Task::over(
        "revocations",
        (membership, verifier),
        |(membership, verifier), cancel| async move {
            let poll = Poll {
                membership: RevocationServiceClient::new(membership),
                verifier,
                revision: String::new(),
            };
            poll.run(cancel).await;
            Ok(())
        },
    )
}

struct Poll {
    membership: RevocationServiceClient<ServiceChannel>,
    verifier: Arc<Verifier>,
    /// The revision of the last list; empty before the first.
    revision: String,
}

impl Poll {
    async fn run(mut self, cancel: CancellationToken) {
        let (mut last_success, mut reported) = (Instant::now(), false);
        loop {
            let requested_at = Instant::now();
            let response = tokio::select! {
                () = cancel.cancelled() => return,
                response = self.once(requested_at) => response,
            };
            match response {
                Ok(()) => {
                    last_success = requested_at;
                    if std::mem::take(&mut reported) {
                        tracing::info!("revocations known again");
                    }
                }
                Err(error) => {
                    let error = error_chain(&*error);
                    tracing::debug!(error, "revocations could not be polled");
                    if !reported && last_success.elapsed() >= REPORT_AFTER {
                        reported = true;
                        tracing::warn!(error, "revocations unknown for 30 s, refusing people");
                    }
                }
            }
            let pause = if self.revision.is_empty() {
                FIRST_PAUSE
            } else {
                INTERVAL
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn once(&mut self, requested_at: Instant) -> anyhow::Result<()> {
        let request = GetRevocationsRequest {
            known_revision: self.revision.clone(),
        };
        let limit = if self.revision.is_empty() {
            FIRST_LIMIT
        } else {
            LIMIT
        };
        let mut responses = timeout(limit, self.membership.get_revocations(request))
            .await??
            .into_inner();
        let (mut list, mut revision, mut unchanged) = (Revoked::default(), None, false);
        while let Some(response) = timeout(limit, responses.message()).await?? {
            ids(&mut list.sessions, &response.session_ids)?;
            ids(&mut list.service_account_keys, &response.service_account_key_ids)?;
            // Not only at the end, so that no response takes more memory.
            anyhow::ensure!(list.len() <= MAX_REVOCATIONS, "the response has too many ids");
            unchanged = response.unchanged;
            revision = Some(response.revision);
        }
        let revision = revision.context("the response is empty")?;
        self.verifier
            .record_revocations(requested_at, (!unchanged).then_some(&list))?;
        self.revision = revision;
        Ok(())
    }
}

fn ids<T: TypedId>(to: &mut Vec<T>, texts: &[String]) -> anyhow::Result<()> {
    for text in texts {
        let id = text.parse().ok().context("an id is malformed")?;
        to.push(id);
    }
    Ok(())
}
