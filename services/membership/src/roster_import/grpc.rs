//! `parta.membership.v1.RosterImportService`: decodes requests, calls the edge, and encodes responses.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream, stream::BoxStream};
use parta_edge::{Call, Edge, PageRequest};
use parta_mutations::etag;
use parta_proto::{status::v1::ErrorReason as Common, timestamp};
use parta_proto_membership::v1::{
    self as pb, check_roster_import_request::Part, roster_import_service_server::RosterImportService,
};
use parta_status::{FieldViolations, RpcError, field, invalid, permission_denied};
use tonic::{Request, Response, Status, Streaming};

use super::{
    Problem,
    model::{ChangeKind, Counts, Import, MassChange, NoEffect},
    operations::{
        self, CheckRosterImport, DecideChanges, GetRosterImport, ListChanges, ListProblems,
        ListRosterImports, LoadEarlierImports, StartRosterImport,
    },
    plan::Change,
    storage::rows::ChangeFilter,
    upload::Upload,
};
use crate::{context::Context, error::Error};

/// Interval at which a watcher reads the progress of other replicas. Progress in this process wakes it at
/// once.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Largest page of changes or problems.
const ROWS_MAX: i32 = 1_000;
/// Most changes of one decision.
const DECISION_MAX: usize = 100;

/// The server of the service.
#[derive(Clone)]
pub(crate) struct RosterImports {
    edge: Edge<Context>,
    /// Wakes watchers when an import of this process may have made progress.
    context: Arc<Context>,
}

impl RosterImports {
    pub(crate) fn new(edge: Edge<Context>, context: Arc<Context>) -> Self {
        Self { edge, context }
    }
}

fn counts(counts: Counts) -> pb::RosterImportCounts {
    pb::RosterImportCounts {
        units: counts.units,
        members: counts.members,
        renames: counts.renames,
        enrollments_begun: counts.enrollments_begun,
        enrollments_ended: counts.enrollments_ended,
        assignments_begun: counts.assignments_begun,
        guardianships: counts.guardianships,
        removals: counts.removals,
        invitations: counts.invitations,
        readmissions: counts.readmissions,
    }
}

fn mass_change(change: MassChange) -> pb::RosterMassChange {
    pb::RosterMassChange {
        kind: change.kind.into(),
        people: change.people,
        of: change.of,
    }
}

fn to_proto(import: Import) -> pb::RosterImport {
    pb::RosterImport {
        id: import.id.to_string(),
        state: import.state.number(),
        one_roster_version: import.one_roster_version,
        planned: Some(counts(import.planned)),
        done: Some(counts(import.done)),
        problem_count: import.problem_count,
        mass_changes: import.mass_changes.into_iter().map(mass_change).collect(),
        create_time: Some(timestamp(import.create_time)),
        start_time: import.start_time.map(timestamp),
        finish_time: import.finish_time.map(timestamp),
        etag: etag(import.revision),
        no_effect_count: import.no_effect_count,
        waiting_count: import.waiting_count,
    }
}

fn change((number, change): (i64, Change)) -> pb::RosterChange {
    pb::RosterChange {
        kind: change.kind.number().into(),
        person: change.details.person,
        unit_label: change.details.unit_label,
        before: change.details.before,
        after: change.details.after,
        number,
        outcome: change.outcome.number().into(),
        no_effect: change.outcome.no_effect().map_or(0, NoEffect::number).into(),
        file: change.source_line.file.to_owned(),
        line: i32::try_from(change.source_line.line).unwrap_or(i32::MAX),
    }
}

fn problem(problem: Problem) -> pb::RosterImportProblem {
    pb::RosterImportProblem {
        file: problem.file,
        line: i32::try_from(problem.line).unwrap_or(i32::MAX),
        column: problem.column,
        description: problem.description,
        fatal: problem.fatal,
    }
}

fn decode_import(v: &mut FieldViolations, org_id: &str, roster_import_id: &str) -> Option<GetRosterImport> {
    let org_id = field::id(v, "org_id", org_id);
    let roster_import_id = field::id(v, "roster_import_id", roster_import_id);
    Some(GetRosterImport {
        org_id: org_id?,
        roster_import_id: roster_import_id?,
    })
}

/// Decodes mass changes. A kind that this build does not know is refused.
fn decode_confirmed(v: &mut FieldViolations, changes: &[pb::RosterMassChange]) -> Option<Vec<MassChange>> {
    let decode = |change: &pb::RosterMassChange| {
        Some(MassChange {
            kind: ChangeKind::from_number(change.kind)?.number(),
            people: change.people,
            of: change.of,
        })
    };
    let decoded: Option<Vec<_>> = changes.iter().map(decode).collect();
    let of_kinds = |changes: &Vec<MassChange>| changes.iter().map(|c| c.kind).collect::<BTreeSet<_>>().len();
    let once = decoded
        .as_ref()
        .is_some_and(|changes| of_kinds(changes) == changes.len());
    let why = "must name each mass change of the import once";
    v.check(once, "confirmed_mass_changes", why);
    decoded.filter(|_| once)
}

/// Decodes the numbers of the changes of a decision, in their order.
fn decode_numbers(v: &mut FieldViolations, numbers: &[i64]) -> Option<Vec<i64>> {
    let distinct: BTreeSet<i64> = numbers.iter().copied().collect();
    let fits = (1..=DECISION_MAX).contains(&numbers.len()) && distinct.len() == numbers.len();
    v.check(fits, "numbers", "must name 1 to 100 different changes");
    fits.then(|| distinct.into_iter().collect())
}

/// Receives the messages after the header.
async fn receive(stream: &mut Streaming<pb::CheckRosterImportRequest>) -> Result<Upload, Status> {
    let mut upload = Upload::default();
    while let Some(message) = stream.message().await? {
        match message.part {
            Some(Part::Chunk(chunk)) => upload.append(&chunk.file_name, &chunk.data)?,
            Some(Part::Header(_)) => return Err(invalid("header", "must come once, first").into()),
            None => return Err(invalid("chunk", "is missing in a message").into()),
        }
    }
    Ok(upload)
}

#[tonic::async_trait]
impl RosterImportService for RosterImports {
    /// Authorizes the caller before the first chunk is received.
    async fn check_roster_import(
        &self,
        request: Request<Streaming<pb::CheckRosterImportRequest>>,
    ) -> Result<Response<pb::CheckRosterImportResponse>, Status> {
        let stream = self.edge.enter(request).await?;
        let Some((call, mut stream)) = stream.first_message().await? else {
            return Err(invalid("header", "is required").into());
        };
        let query = call.mutation(|v, r| {
            let Some(Part::Header(header)) = &r.part else {
                v.add("header", "must come first");
                return None;
            };
            let org_id = field::id(v, "header.org_id", &header.org_id)?;
            Some(LoadEarlierImports { org_id })
        })?;
        let earlier = self.edge.query(&call, &query).await?;
        let upload = receive(&mut stream).await?;
        let call = call.with_content(&upload.hash());
        let (set, problems) = operations::parse_files(upload.into_files(), earlier).await?;
        let command = CheckRosterImport {
            org_id: query.org_id,
            set,
            problems,
        };
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::CheckRosterImportResponse {
            roster_import: Some(to_proto(done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn start_roster_import(
        &self,
        request: Request<pb::StartRosterImportRequest>,
    ) -> Result<Response<pb::StartRosterImportResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let import = decode_import(v, &r.org_id, &r.roster_import_id);
            let confirmed = decode_confirmed(v, &r.confirmed_mass_changes);
            let import = import?;
            Some(StartRosterImport {
                org_id: import.org_id,
                roster_import_id: import.roster_import_id,
                etag: r.etag.clone(),
                confirmed: confirmed?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::StartRosterImportResponse {
            roster_import: Some(to_proto(done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn decide_roster_import_changes(
        &self,
        request: Request<pb::DecideRosterImportChangesRequest>,
    ) -> Result<Response<pb::DecideRosterImportChangesResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let import = decode_import(v, &r.org_id, &r.roster_import_id);
            let numbers = decode_numbers(v, &r.numbers);
            let confirms = match r.decision() {
                pb::RosterChangeDecision::Confirm => Some(true),
                pb::RosterChangeDecision::Drop => Some(false),
                pb::RosterChangeDecision::Unspecified => None,
            };
            v.check(confirms.is_some(), "decision", "must be CONFIRM or DROP");
            let import = import?;
            Some(DecideChanges {
                org_id: import.org_id,
                roster_import_id: import.roster_import_id,
                numbers: numbers?,
                confirms: confirms?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::DecideRosterImportChangesResponse {
            roster_import: Some(to_proto(done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn get_roster_import(
        &self,
        request: Request<pb::GetRosterImportRequest>,
    ) -> Result<Response<pb::GetRosterImportResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| decode_import(v, &r.org_id, &r.roster_import_id))?;
        let import = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::GetRosterImportResponse {
            roster_import: Some(to_proto(import)),
        }))
    }

    async fn list_roster_imports(
        &self,
        request: Request<pb::ListRosterImportsRequest>,
    ) -> Result<Response<pb::ListRosterImportsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let filter = format!("imports {}", r.org_id);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, filter);
            Some(ListRosterImports {
                org_id: org_id?,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListRosterImportsResponse {
            roster_imports: page.items.into_iter().map(to_proto).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn list_roster_import_changes(
        &self,
        request: Request<pb::ListRosterImportChangesRequest>,
    ) -> Result<Response<pb::ListRosterImportChangesResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let import = decode_import(v, &r.org_id, &r.roster_import_id);
            let kind = (r.kind != 0).then(|| ChangeKind::from_number(r.kind));
            v.check(kind != Some(None), "kind", "is no kind of change");
            let known = pb::RosterChangeOutcome::try_from(r.outcome).is_ok();
            v.check(known, "outcome", "is no outcome of a change");
            let outcome = i16::try_from(r.outcome).ok().filter(|number| *number != 0);
            let filter = format!(
                "changes {} {} {} {}",
                r.org_id, r.roster_import_id, r.kind, r.outcome
            );
            let page = PageRequest::decode_up_to(ROWS_MAX, v, r.page_size, &r.page_token, filter);
            Some(ListChanges {
                import: import?,
                filter: ChangeFilter {
                    kind: kind.flatten(),
                    outcome,
                },
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        let changes = page.items.into_iter().map(change);
        Ok(Response::new(pb::ListRosterImportChangesResponse {
            changes: changes.collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn list_roster_import_problems(
        &self,
        request: Request<pb::ListRosterImportProblemsRequest>,
    ) -> Result<Response<pb::ListRosterImportProblemsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let import = decode_import(v, &r.org_id, &r.roster_import_id);
            let filter = format!("problems {} {}", r.org_id, r.roster_import_id);
            let page = PageRequest::decode_up_to(ROWS_MAX, v, r.page_size, &r.page_token, filter);
            Some(ListProblems {
                import: import?,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        let problems = page.items.into_iter().map(|(_, row)| problem(row));
        Ok(Response::new(pb::ListRosterImportProblemsResponse {
            problems: problems.collect(),
            next_page_token: page.next_page_token,
        }))
    }

    type WatchRosterImportStream = BoxStream<'static, Result<pb::WatchRosterImportResponse, Status>>;

    /// Authorizes the caller and reads the import after each progress and every few seconds.
    async fn watch_roster_import(
        &self,
        request: Request<pb::WatchRosterImportRequest>,
    ) -> Result<Response<Self::WatchRosterImportStream>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| decode_import(v, &r.org_id, &r.roster_import_id))?;
        // Subscribed before the first read, so that no progress in between is missed.
        let mut progress = self.context.progress.subscribe();
        progress.mark_unchanged();
        let first = self.edge.query(&call, &query).await?;
        let watch = Watch {
            edge: self.edge.clone(),
            call,
            query,
            progress,
            last: None,
        };
        let states = stream::unfold((Some(first), watch), |(first, mut watch)| async move {
            let next = match first {
                Some(first) => Some(Ok(first)),
                None => watch.next().await,
            }?;
            watch.last = next.as_ref().ok().cloned();
            Some((next, (None, watch)))
        });
        let responses = states.map(|state| {
            let import = state.map_err(Status::from)?;
            Ok(pb::WatchRosterImportResponse {
                roster_import: Some(to_proto(import)),
            })
        });
        Ok(Response::new(responses.boxed()))
    }
}

/// Returns the error with which an open stream ends. Its caller knew the import, so that NOT_FOUND can only
/// mean that the caller has left the organization.
fn ended(error: Error) -> Error {
    let refusal = RpcError::from(error);
    if refusal.is(Common::NotFound) {
        return permission_denied("You are no longer a member of the organization.").into();
    }
    refusal.into()
}

/// A watcher of an import.
struct Watch {
    edge: Edge<Context>,
    call: Call<pb::WatchRosterImportRequest>,
    query: GetRosterImport,
    progress: tokio::sync::watch::Receiver<u64>,
    /// The last import that was sent; `None` after an error.
    last: Option<Import>,
}

impl Watch {
    /// Waits until the import has changed. Returns `None` after a final state or an error.
    async fn next(&mut self) -> Option<Result<Import, Error>> {
        let last = self.last.take().filter(|last| !last.state.is_final())?;
        loop {
            let _woken = tokio::time::timeout(POLL_INTERVAL, self.progress.changed()).await;
            match self.edge.query(&self.call, &self.query).await {
                Ok(import) if import == last => {}
                Err(error) => return Some(Err(ended(error))),
                changed => return Some(changed),
            }
        }
    }
}
