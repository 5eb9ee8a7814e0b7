//! Leaving a running call: each change of the roster judges the members of open rooms again, and who may no
//! longer be there is removed (F18).
use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use opentelemetry::{KeyValue, global, metrics::Counter};
use parta_access::OrgScope;
use parta_database::Tx;
use parta_feed::HandleError;
use parta_http_client::HttpClient;
use parta_ids::{MemberId, OrgId};
use parta_jobs::{Job, JobError, JobHandler, Limits};
use parta_roster::{Change, RosterObserver};
use parta_status::RpcError;

use super::policy;
use crate::{
    calls,
    context::Context,
    error::Error,
    rooms::{self, Affected, Entrant, Judgment, LiveKit},
};

/// LiveKit gives the clients in a room tokens for ten minutes, with which they can return after a removal,
/// and accepts a token for a minute after its end.
const TOKENS_LAST: TimeDelta = TimeDelta::minutes(11);
/// The time between two removals of a member who may return with an earlier token.
const REPETITION: TimeDelta = TimeDelta::seconds(5);

/// A room holds few members, and each removal is one call.
pub(crate) const JOB_LIMITS: Limits = Limits {
    concurrent: 16,
    per_organization: 8,
    attempt_timeout: Some(std::time::Duration::from_secs(30)),
    max_retry_delay: std::time::Duration::from_secs(5),
};

/// Enqueues the judgment of the members of open rooms whom a change of the roster may concern, in the
/// transaction that applies the change.
pub(crate) struct LostRights;

#[async_trait]
impl RosterObserver for LostRights {
    async fn changed(&self, tx: &Tx, org: OrgId, changes: &[Change]) -> Result<(), HandleError> {
        let scope = OrgScope::for_consumer(rooms::JOB, org);
        let open = rooms::list_open_calls(tx, &scope, tx.now()).await?;
        if open.is_empty() {
            return Ok(());
        }
        let concerns_everybody = |change: &Change| {
            matches!(
                change,
                Change::OrganizationChanged | Change::UnitArchived(_) | Change::Resynced
            )
        };
        if changes.iter().any(concerns_everybody) {
            rooms::judge_again(tx, &scope, Affected::Everybody).await?;
            return Ok(());
        }
        let members = changes.iter().filter_map(|change| match change {
            Change::Member(id) | Change::MemberReleased(id) => Some(*id),
            _ => None,
        });
        let members: BTreeSet<MemberId> = members.collect();
        let members: Vec<MemberId> = members.into_iter().collect();
        // SQLite binds at most 32,766 values per statement, PostgreSQL 65,535.
        for some in members.chunks(5_000) {
            rooms::judge_again(tx, &scope, Affected::Members(some)).await?;
            // A duty toward those who are named in a call is compared with all of them.
            let naming = calls::list_naming(tx, &scope, &open, some).await?;
            rooms::judge_again(tx, &scope, Affected::Calls(&naming)).await?;
        }
        Ok(())
    }
}

/// Runs the jobs that judge the members of rooms.
pub(crate) struct Leaving {
    context: Arc<Context>,
    client: HttpClient,
    removals: Counter<u64>,
}

/// Whether a member may be in a room by the facts of this moment.
async fn may_stay(context: &Context, tx: &Tx, scope: &OrgScope, of: &Entrant) -> Result<bool, Error> {
    let start = of.room.start_time;
    let Some(call) = calls::find(tx, scope, of.room.call_id).await? else {
        return Ok(false);
    };
    let state = calls::find_state(tx, scope, call.id, start).await?;
    if state.canceled || call.is_canceled_at(start) {
        return Ok(false);
    }
    let facts = context
        .roster
        .contexts_of(tx, scope.org_id(), &[of.member_id])
        .await?;
    let Some(facts) = facts.first() else {
        return Ok(false);
    };
    let named = calls::load_named(context, tx, facts, &call.draft.participants).await?;
    // A member who is no longer the host may enter again, with a token that gives less.
    let keeps_powers = !of.host || policy::is_host(facts, &call, &named);
    Ok(keeps_powers && policy::join(facts, &call, &named).is_allowed())
}

impl Leaving {
    /// Fails if the file of the authorities cannot be used.
    pub(crate) fn new(context: Arc<Context>) -> anyhow::Result<Self> {
        let client = context.config.media_client()?;
        let meter = global::meter("parta");
        let removals = meter
            .u64_counter("call_scheduling.removals")
            .with_description("Removals of members from rooms of the media server");
        Ok(Self {
            context,
            client,
            removals: removals.build(),
        })
    }

    /// Judges a member of a room. Returns the member to remove now, and since when the member must be out.
    async fn judge(
        &self,
        tx: &Tx,
        scope: &OrgScope,
        judgment: &Judgment,
    ) -> Result<Option<(Entrant, DateTime<Utc>)>, Error> {
        let (found, now) = (
            rooms::lock(tx, scope, judgment.room, judgment.member_id).await?,
            tx.now(),
        );
        let Some(entrant) = found.filter(|of| now < of.close_time + TOKENS_LAST) else {
            return Ok(None);
        };
        match (entrant.remove_time, judgment.removal) {
            // A member who was admitted again meanwhile, and removed again, has another removal.
            (Some(since), Some(removal)) => Ok((since == removal).then_some((entrant, since))),
            (Some(_), None) => Ok(None),
            (None, _) if may_stay(&self.context, tx, scope, &entrant).await? => Ok(None),
            (None, _) => {
                tracing::info!(call.id = %entrant.room.call_id, "a member must leave a running call");
                rooms::update_removed(tx, scope, &entrant, now).await?;
                // A job of its own, which is repeated until the media server responds.
                rooms::remove(tx, scope, &entrant, now, None).await?;
                Ok(None)
            }
        }
    }

    async fn remove(&self, org: OrgId, entrant: &Entrant) -> Result<(), JobError> {
        let context = &self.context;
        // Without a media server nobody is in a room of it.
        let Some(media) = LiveKit::of(&context.config, &context.secrets, context.loopback_only) else {
            return Ok(());
        };
        let identity = rooms::media_identity(&context.secrets, org, entrant.member_id);
        let room = entrant.room.name();
        let now = context.db.env().clock.now();
        let removed = media.remove(&self.client, (&room, &identity), now).await;
        let outcome = match &removed {
            Ok(true) => "removed",
            Ok(false) => "absent",
            Err(_) => "failed",
        };
        self.removals.add(1, &[KeyValue::new("outcome", outcome)]);
        removed
            .map(drop)
            .map_err(|error| JobError::Retry(error.to_string()))
    }
}

#[async_trait]
impl JobHandler for Leaving {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let judgment = serde_json::from_slice::<Judgment>(&job.payload).ok();
        let (Some(judgment), Some(org)) = (&judgment, job.org_id) else {
            return Err(JobError::Fatal("the payload is no judgment".to_owned()));
        };
        let scope = &OrgScope::for_consumer(rooms::JOB, org);
        let db = &self.context.db;
        let judged = db.write(|tx| async move { self.judge(&tx, scope, judgment).await });
        let judged = judged
            .await
            .map_err(|error| JobError::Retry(RpcError::from(error).reason().to_owned()))?;
        let Some((entrant, since)) = &judged else {
            return Ok(());
        };
        self.remove(org, entrant).await?;
        let next = |tx: Tx| async move {
            let due = tx.now() + REPETITION;
            if due >= *since + TOKENS_LAST {
                return Ok(());
            }
            rooms::remove(&tx, scope, entrant, *since, Some(due)).await
        };
        Ok(db.write(next).await?)
    }
}
