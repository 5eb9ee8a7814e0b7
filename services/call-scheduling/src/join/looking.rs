//! Looking into the rooms of running calls: removes people who may no longer be there (F18), and everybody in
//! a call with pupils that has no adult (F15).
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use opentelemetry::{KeyValue, global, metrics::Counter};
use parta_access::{OrgScope, Principal};
use parta_database::Tx;
use parta_feed::HandleError;
use parta_http_client::HttpClient;
use parta_ids::{MemberId, OrgId};
use parta_jobs::{Job, JobError, JobHandler, Limits};
use parta_roster::{Change, RosterObserver};
use parta_status::RpcError;

use super::policy;
use crate::{
    calls::{self, Call},
    context::Context,
    error::Error,
    rooms::{self, Affected, Entrant, LiveKit, Look, Looked, MediaError, Present, Room},
};

/// LiveKit gives the clients in a room tokens for ten minutes, with which they can return after a removal,
/// and accepts a token for a minute after its end.
const TOKENS_LAST: TimeDelta = TimeDelta::minutes(11);
/// The time between two looks into a room.
const INTERVAL: TimeDelta = TimeDelta::seconds(5);

/// A look takes one call of the media server, and one for each person who is removed.
pub(crate) const JOB_LIMITS: Limits = Limits {
    concurrent: 16,
    per_organization: 8,
    attempt_timeout: Some(Duration::from_secs(30)),
    max_retry_delay: Duration::from_secs(5),
};

/// Looks into the rooms that a change of the roster may concern, from the transaction that applies it.
pub(crate) struct ChangedRights;

#[async_trait]
impl RosterObserver for ChangedRights {
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
            rooms::look_again(tx, &scope, Affected::Everybody).await?;
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
            rooms::look_again(tx, &scope, Affected::Members(some)).await?;
            // A duty toward those who are named in a call is compared with all of them.
            let naming = calls::list_naming(tx, &scope, &open, some).await?;
            rooms::look_again(tx, &scope, Affected::Calls(&naming)).await?;
        }
        Ok(())
    }
}

/// Runs the jobs that look into rooms.
pub(crate) struct Looking {
    context: Arc<Context>,
    client: HttpClient,
    looks: Counter<u64>,
    removals: Counter<u64>,
}

/// The cause of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The person may not be there, or not with what the token gives.
    Right,
    /// The session in which the token was issued has ended.
    Session,
    /// No adult is in the call with pupils.
    NoAdult,
    /// The room has closed, or the occurrence was canceled.
    Closed,
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Session => "session",
            Self::NoAdult => "no_adult",
            Self::Closed => "closed",
        }
    }
}

/// The people who were admitted to a room and whom a look has found there.
struct Judged {
    /// Those who may stay, by the facts of this moment and without the rule on adults.
    staying: BTreeSet<String>,
    /// Whether one of them is there as staff.
    has_staff: bool,
}

fn failure(error: Error) -> JobError {
    let is_transient = matches!(&error, Error::Storage(error) if error.is_transient());
    let reason = RpcError::from(error).reason().to_owned();
    match is_transient {
        true => JobError::Unavailable(reason),
        false => JobError::Retry(reason),
    }
}

/// A server that does not respond costs no attempt: the looks continue when it responds.
fn media_failure(error: &MediaError) -> JobError {
    match error.is_transient() {
        true => JobError::Unavailable(error.to_string()),
        false => JobError::Retry(error.to_string()),
    }
}

impl Looking {
    /// Fails if the file of the authorities cannot be used.
    pub(crate) fn new(context: Arc<Context>) -> anyhow::Result<Self> {
        let client = context.config.media_client()?;
        let meter = global::meter("parta");
        let looks = meter
            .u64_counter("call_scheduling.looks")
            .with_description("Looks into rooms of the media server");
        let removals = meter
            .u64_counter("call_scheduling.removals")
            .with_description("Removals of people from rooms of the media server");
        Ok(Self {
            context,
            client,
            looks: looks.build(),
            removals: removals.build(),
        })
    }

    /// Notes which sessions have ended since the last look.
    async fn end_sessions(
        &self,
        tx: &Tx,
        scope: &OrgScope,
        room: Room,
        entrants: &mut [Entrant],
    ) -> Result<(), Error> {
        let mut ended = Vec::new();
        for entrant in entrants.iter_mut().filter(|entrant| !entrant.session_ended) {
            let principal = Principal::Person {
                org_id: scope.org_id(),
                member_id: entrant.member_id,
                session_id: entrant.session_id,
            };
            // The process forgets a revocation when the last token of Parta has expired.
            entrant.session_ended = self.context.verifier.is_revoked(&principal);
            if entrant.session_ended {
                ended.push(entrant.identity.as_str());
            }
        }
        if !ended.is_empty() {
            rooms::end_sessions(tx, scope, room, &ended).await?;
        }
        Ok(())
    }

    /// Judges those who are in a room by the facts of this moment.
    async fn judge(
        &self,
        tx: &Tx,
        call: &Call,
        scope: &OrgScope,
        entrants: &[&Entrant],
    ) -> Result<Judged, Error> {
        let roster = &self.context.roster;
        let members: BTreeSet<MemberId> = entrants.iter().map(|entrant| entrant.member_id).collect();
        let members: Vec<MemberId> = members.into_iter().collect();
        let people = roster.contexts_of(tx, scope.org_id(), &members).await?;
        let mut judged = Judged {
            staying: BTreeSet::new(),
            has_staff: false,
        };
        for facts in &people {
            let named = calls::load_named(&self.context, tx, facts, &call.draft.participants).await?;
            let own = |entrant: &&&Entrant| entrant.member_id == facts.member_id && !entrant.session_ended;
            for entrant in entrants.iter().filter(own) {
                if policy::may_stay(entrant.standing, facts, call, &named) {
                    judged.staying.insert(entrant.identity.clone());
                    judged.has_staff |= calls::attends_as_staff(facts, call, &named);
                }
            }
        }
        Ok(judged)
    }

    /// Decides who of those present is removed from the room, and enqueues the next look.
    async fn decide(
        &self,
        tx: &Tx,
        scope: &OrgScope,
        (look, job): (&Look, &Job),
        present: &[Present],
    ) -> Result<Vec<(String, Cause)>, Error> {
        let (room, now) = (look.room, tx.now());
        let Some(mut open) = rooms::lock(tx, scope, room).await? else {
            return Ok(Vec::new());
        };
        if open.look_id != job.request_id {
            return Ok(Vec::new());
        }
        let call = calls::find(tx, scope, room.call_id).await?;
        let canceled = calls::is_canceled(tx, scope, room.call_id, room.start_time).await?;
        let is_held = |call: &Call| !canceled && !call.is_canceled_at(room.start_time);
        let held = call.filter(|call| now < open.close_time && is_held(call));
        let mut entrants = rooms::list_entrants(tx, scope, room).await?;
        self.end_sessions(tx, scope, room, &mut entrants).await?;
        let is_present = |entrant: &&Entrant| present.iter().any(|p| p.identity == entrant.identity);
        let found: Vec<&Entrant> = entrants.iter().filter(is_present).collect();
        let mut removed = Vec::new();
        match &held {
            None => removed.extend(present.iter().map(|p| (p.identity.clone(), Cause::Closed))),
            Some(call) => {
                let judged = self.judge(tx, call, scope, &found).await?;
                if judged.has_staff {
                    (open.token_time, open.seen_time) = (None, Some(now));
                }
                let is_open = open.is_open(call.has_pupils(), now);
                for person in present {
                    let admitted = found.iter().find(|entrant| entrant.identity == person.identity);
                    let cause = match admitted {
                        Some(entrant) if entrant.session_ended => Some(Cause::Session),
                        Some(entrant) if !judged.staying.contains(&entrant.identity) => Some(Cause::Right),
                        _ if person.uses_media && !is_open => Some(Cause::NoAdult),
                        _ => None,
                    };
                    removed.extend(cause.map(|cause| (person.identity.clone(), cause)));
                }
            }
        }
        let found_time = match present.is_empty() {
            true => look.found_time,
            false => Some(now),
        };
        let (next, last) = (now + INTERVAL, found_time.max(Some(open.close_time)));
        let looked = Looked {
            token_time: open.token_time,
            seen_time: open.seen_time,
            found_time,
            next: last.is_some_and(|last| next < last + TOKENS_LAST).then_some(next),
        };
        rooms::update_looked(tx, scope, &open, looked).await?;
        Ok(removed)
    }

    /// Removes people from a room. The next look finds those whom the media server did not remove.
    async fn remove(&self, media: &LiveKit, room: Room, people: &[(String, Cause)], now: DateTime<Utc>) {
        let name = room.name();
        for (identity, cause) in people {
            let removed = media.remove(&self.client, (&name, identity), now).await;
            let outcome = match &removed {
                Ok(true) => "removed",
                Ok(false) => "absent",
                Err(_) => "failed",
            };
            let cause = cause.name();
            let error = removed.err().map(|error| error.to_string());
            let call = room.call_id;
            tracing::info!(call.id = %call, cause, outcome, error, "a person must leave a running call");
            let attributes = [KeyValue::new("outcome", outcome), KeyValue::new("cause", cause)];
            self.removals.add(1, &attributes);
        }
    }
}

#[async_trait]
impl JobHandler for Looking {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let look = serde_json::from_slice::<Look>(&job.payload).ok();
        let (Some(look), Some(org)) = (&look, job.org_id) else {
            return Err(JobError::Fatal("the payload names no room".to_owned()));
        };
        let context = &self.context;
        // Without a media server nobody is in a room of it.
        let Some(media) = LiveKit::of(&context.config, &context.secrets, context.loopback_only) else {
            return Ok(());
        };
        let (scope, db) = (&OrgScope::for_consumer(rooms::JOB, org), &context.db);
        // The room is purged, or another job looks into it, however long the media server does not respond.
        let known = rooms::find(db.conn(), scope, look.room).await?;
        if known.is_none_or(|open| open.look_id != job.request_id) {
            return Ok(());
        }
        let now = db.env().clock.now();
        let present = media.list(&self.client, &look.room.name(), now).await;
        let outcome = if present.is_ok() { "looked" } else { "failed" };
        self.looks.add(1, &[KeyValue::new("outcome", outcome)]);
        let present = &present.map_err(|error| media_failure(&error))?;
        let removed = db.write(|tx| async move { self.decide(&tx, scope, (look, job), present).await });
        let removed = removed.await.map_err(failure)?;
        self.remove(&media, look.room, &removed, now).await;
        Ok(())
    }
}
