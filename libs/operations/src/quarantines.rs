//! The consumers of one service and the organizations that they have quarantined: status, list, explain,
//! retry, skip, rebuild.

use std::time::Duration;

use parta_access::{Caller, require_operator};
use parta_database::{Db, Tx};
use parta_edge::{Edge, Mutation, Page, PageRequest, Query, Read, Run};
use parta_feed::{ConsumerHandle, QuarantinedOrganization};
use parta_ids::{EventId, OrgId, optional_text};
use parta_proto::{ServeQuarantines, duration, feed::v1 as pb, status::v1::ErrorReason, timestamp};
use parta_status::{FieldViolations, RpcError, field, not_found};
use tonic::{Request, Response, Status};

use crate::edge;

/// The largest number of organizations in each list of one [`ConsumerStatus`].
const LAGS: usize = 100;
/// The largest length of the name of a consumer, in characters.
const NAME_LENGTH: usize = 100;

/// Serves the consumers of one service through its generated service. Cheap to clone.
#[derive(Clone)]
pub struct QuarantineServer {
    edge: Edge<()>,
}

impl QuarantineServer {
    /// Returns a server.
    pub fn new(db: Db) -> Self {
        Self { edge: edge(db) }
    }
}

/// The projection of one organization.
struct Target {
    org_id: OrgId,
    consumer: String,
}

impl Target {
    fn decode(violations: &mut FieldViolations, org_id: &str, consumer: &str) -> Option<Self> {
        let consumer = field::text(violations, "consumer", consumer, 1..=NAME_LENGTH, false);
        Some(Self {
            org_id: field::id(violations, "org_id", org_id)?,
            consumer,
        })
    }

    fn act(self, act: Act) -> ChangeQuarantine {
        ChangeQuarantine { target: self, act }
    }

    fn unknown(&self) -> RpcError {
        not_found("quarantine", format!("{}/{}", self.org_id, self.consumer))
    }

    async fn audit(&self, tx: &Tx, caller: &Caller) -> Result<(), RpcError> {
        let object = format!("organizations/{}/consumers/{}", self.org_id, self.consumer);
        Ok(parta_audit::record(tx, caller, Some(self.org_id), object).await?)
    }
}

struct GetStatus;

impl Query for GetStatus {
    type Context = ();
    type View = Vec<ConsumerHandle>;
    type Error = RpcError;

    async fn run(&self, run: Run<'_, ()>) -> Result<Read<Self::View>, RpcError> {
        require_operator(run.caller)?;
        Ok(Read::plain(parta_feed::consumers(run.tx.db())))
    }
}

struct ListQuarantines(PageRequest);

impl Query for ListQuarantines {
    type Context = ();
    type View = Page<QuarantinedOrganization>;
    type Error = RpcError;

    async fn run(&self, run: Run<'_, ()>) -> Result<Read<Self::View>, RpcError> {
        let Run { tx, caller, .. } = run;
        require_operator(caller)?;
        let after: Option<(OrgId, String)> = self.0.after(tx, caller)?;
        let rows = parta_feed::list_quarantined(tx, after, self.0.limit()).await?;
        let key = |row: &QuarantinedOrganization| (row.org_id, row.consumer.clone());
        Ok(Read::plain(self.0.page(tx, caller, rows, key)))
    }
}

struct ExplainQuarantine(Target);

impl Query for ExplainQuarantine {
    type Context = ();
    type View = QuarantinedOrganization;
    type Error = RpcError;

    async fn run(&self, run: Run<'_, ()>) -> Result<Read<Self::View>, RpcError> {
        require_operator(run.caller)?;
        let found = parta_feed::find_quarantined(run.tx, self.0.org_id, &self.0.consumer).await?;
        Ok(Read::plain(found.ok_or_else(|| self.0.unknown())?))
    }
}

/// An act of the operator on the projection of an organization.
enum Act {
    Retry,
    Skip(EventId),
    Rebuild,
}

struct ChangeQuarantine {
    target: Target,
    act: Act,
}

impl Mutation for ChangeQuarantine {
    type Context = ();
    type Grant = ();
    type Outcome = ();
    type View = ();
    type Error = RpcError;

    async fn authorize(&self, run: Run<'_, ()>) -> Result<(), RpcError> {
        require_operator(run.caller).map(drop)
    }

    async fn act(&self, run: Run<'_, ()>, (): &()) -> Result<(), RpcError> {
        let Run { tx, caller, .. } = run;
        let (org_id, consumer) = (self.target.org_id, self.target.consumer.as_str());
        match self.act {
            Act::Rebuild => {
                if !parta_feed::rebuild(tx, org_id, consumer).await? {
                    return Err(not_found("projection", format!("{org_id}/{consumer}")));
                }
            }
            Act::Retry => {
                let locked = parta_feed::lock_quarantined(tx, org_id, consumer).await?;
                locked.ok_or_else(|| self.target.unknown())?;
                parta_feed::retry(tx, org_id, consumer).await?;
            }
            Act::Skip(event_id) => {
                let locked = parta_feed::lock_quarantined(tx, org_id, consumer).await?;
                let quarantine = locked.ok_or_else(|| self.target.unknown())?;
                if quarantine.event_id != Some(event_id) {
                    return Err(RpcError::new(
                        ErrorReason::EventNotQuarantined,
                        "The organization is quarantined for another event. Explain the quarantine again.",
                    ));
                }
                parta_feed::skip(tx, org_id, consumer, event_id).await?;
            }
        }
        self.target.audit(tx, caller).await
    }

    async fn view(&self, _: Run<'_, ()>, (): &(), (): &()) -> Result<(), RpcError> {
        Ok(())
    }
}

fn status_to_proto(consumer: &ConsumerHandle) -> pb::ConsumerStatus {
    let (heartbeat, mut lags) = consumer.lags();
    let count = lags.len();
    // Those without a known age are the oldest.
    lags.sort_by_key(|lag| std::cmp::Reverse((lag.is_quarantined, lag.age.unwrap_or(Duration::MAX))));
    lags.truncate(LAGS);
    let mut overdue = consumer.overdue_endings();
    overdue.sort_by_key(|(_, lateness)| std::cmp::Reverse(*lateness));
    overdue.truncate(LAGS);
    pb::ConsumerStatus {
        consumer: consumer.name.to_owned(),
        source: consumer.source.to_owned(),
        heartbeat_age: heartbeat.map(duration),
        organizations_behind: i32::try_from(count).unwrap_or(i32::MAX),
        lags: lags
            .into_iter()
            .map(|lag| pb::ConsumerLag {
                org_id: lag.org_id.to_string(),
                events: lag.events,
                age: lag.age.map(duration),
                quarantined: lag.is_quarantined,
            })
            .collect(),
        breaker_open: consumer.is_breaker_open(),
        overdue_endings: overdue
            .into_iter()
            .map(|(org_id, lateness)| pb::OverdueEnding {
                org_id: org_id.to_string(),
                lateness: Some(duration(lateness)),
            })
            .collect(),
    }
}

fn to_proto(quarantine: QuarantinedOrganization) -> pb::Quarantine {
    pb::Quarantine {
        org_id: quarantine.org_id.to_string(),
        consumer: quarantine.consumer,
        position: quarantine.position,
        event_id: optional_text(quarantine.event_id),
        event_kind: quarantine.event_kind,
        event_failure: quarantine.event_failure,
        snapshot_failure: quarantine.snapshot_failure,
        quarantine_time: Some(timestamp(quarantine.quarantine_time)),
    }
}

#[tonic::async_trait]
impl ServeQuarantines for QuarantineServer {
    async fn get_consumer_status(
        &self,
        request: Request<pb::GetConsumerStatusRequest>,
    ) -> Result<Response<pb::GetConsumerStatusResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|_, _| Some(GetStatus))?;
        let consumers = self.edge.query(&call, &query).await?;
        let consumers = consumers.iter().map(status_to_proto).collect();
        Ok(Response::new(pb::GetConsumerStatusResponse { consumers }))
    }

    async fn list_quarantines(
        &self,
        request: Request<pb::ListQuarantinesRequest>,
    ) -> Result<Response<pb::ListQuarantinesResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let page = PageRequest::decode(v, r.page_size, &r.page_token, String::new());
            Some(ListQuarantines(page?))
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListQuarantinesResponse {
            quarantines: page.items.into_iter().map(to_proto).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn explain_quarantine(
        &self,
        request: Request<pb::ExplainQuarantineRequest>,
    ) -> Result<Response<pb::ExplainQuarantineResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| Some(ExplainQuarantine(Target::decode(v, &r.org_id, &r.consumer)?)))?;
        let quarantine = Some(to_proto(self.edge.query(&call, &query).await?));
        Ok(Response::new(pb::ExplainQuarantineResponse { quarantine }))
    }

    async fn retry_quarantine(
        &self,
        request: Request<pb::RetryQuarantineRequest>,
    ) -> Result<Response<pb::RetryQuarantineResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let act = call.mutation(|v, r| {
            let target = Target::decode(v, &r.org_id, &r.consumer);
            Some(target?.act(Act::Retry))
        })?;
        let consistency_token = self.edge.mutate(&call, &act).await?.consistency_token;
        Ok(Response::new(pb::RetryQuarantineResponse { consistency_token }))
    }

    async fn skip_quarantined_event(
        &self,
        request: Request<pb::SkipQuarantinedEventRequest>,
    ) -> Result<Response<pb::SkipQuarantinedEventResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let act = call.mutation(|v, r| {
            let target = Target::decode(v, &r.org_id, &r.consumer);
            let event_id = field::id(v, "event_id", &r.event_id);
            Some(target?.act(Act::Skip(event_id?)))
        })?;
        let consistency_token = self.edge.mutate(&call, &act).await?.consistency_token;
        Ok(Response::new(pb::SkipQuarantinedEventResponse {
            consistency_token,
        }))
    }

    async fn rebuild_projection(
        &self,
        request: Request<pb::RebuildProjectionRequest>,
    ) -> Result<Response<pb::RebuildProjectionResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let act = call.mutation(|v, r| {
            let target = Target::decode(v, &r.org_id, &r.consumer);
            Some(target?.act(Act::Rebuild))
        })?;
        let consistency_token = self.edge.mutate(&call, &act).await?.consistency_token;
        Ok(Response::new(pb::RebuildProjectionResponse { consistency_token }))
    }
}
