//! Roster imports.
use std::{collections::BTreeMap, time::Duration};

use bytes::BytesMut;
use futures::{StreamExt as _, stream, stream::BoxStream};
use parta_ids::OrgId;
use parta_proto::parta::membership::v1::{
    self as pb, RosterImportState, check_roster_import_request::Part,
    roster_import_service_server::RosterImportService,
};
use parta_status::{RpcError, invalid};
use parta_storage::Mutation;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    context::{Context, Page},
    roster_import::{files, set::Files},
};
use crate::{convert, grpc::Answer};

/// Most bytes of one set.
const MOST: usize = 64 * 1024 * 1024;
/// How often a watcher looks for what another replica has done; work of this process wakes it at once.
const LOOK: Duration = Duration::from_secs(5);
/// Most rows of a page of changes or problems.
const PAGE: i32 = 1_000;

/// A set of files that is being sent.
#[derive(Default)]
struct Upload {
    files: BTreeMap<&'static str, BytesMut>,
    /// The file whose chunks come now.
    open: Option<&'static str>,
    size: usize,
}

impl Upload {
    /// Keeps the next message after the header; what exceeds the limit is refused before it is kept.
    fn take(&mut self, message: pb::CheckRosterImportRequest) -> Result<(), RpcError> {
        let chunk = match message.part {
            Some(Part::Chunk(chunk)) => chunk,
            Some(Part::Header(_)) => return Err(invalid("header", "must come once, first")),
            None => return Err(invalid("chunk", "is missing in a message")),
        };
        let known = files::known(&chunk.file_name);
        let name = known.ok_or_else(|| invalid("chunk.file_name", "is no file of OneRoster"))?;
        if self.open != Some(name) && self.files.contains_key(name) {
            return Err(invalid("chunk.file_name", "the file came before"));
        }
        self.open = Some(name);
        self.size += chunk.data.len();
        if self.size > MOST {
            return Err(invalid("chunk.data", "the files must not exceed 64 MiB"));
        }
        self.files.entry(name).or_default().extend_from_slice(&chunk.data);
        Ok(())
    }
}

/// What the digest of a repetition covers: the organization, and each file by its hash.
fn essence(request_id: &str, org_id: &str, upload: &Upload) -> pb::CheckRosterImportRequest {
    let mut all = Sha256::new();
    all.update(org_id);
    for (name, data) in &upload.files {
        all.update(name);
        all.update(Sha256::digest(data));
    }
    pb::CheckRosterImportRequest {
        request_id: request_id.to_owned(),
        part: Some(Part::Chunk(pb::RosterFileChunk {
            file_name: String::new(),
            data: all.finalize().to_vec().into(),
        })),
    }
}

fn page(size: i32, token: &str, filter: String) -> Result<Page<'_>, Status> {
    let page = convert::page(size.min(200), token, filter)?;
    let wide = u64::try_from(size.clamp(0, PAGE)).unwrap_or(0);
    Ok(Page {
        size: page.size.max(wide),
        ..page
    })
}

#[tonic::async_trait]
impl RosterImportService for Context {
    async fn check_roster_import(
        &self,
        request: Request<Streaming<pb::CheckRosterImportRequest>>,
    ) -> Answer<pb::CheckRosterImportResponse> {
        let (caller, mut stream) = self.enter(request).await?;
        let first = stream.message().await?;
        let Some(Part::Header(header)) = first.as_ref().and_then(|message| message.part.as_ref()) else {
            return Err(invalid("header", "must come first").into());
        };
        let org = convert::id::<OrgId>("header.org_id", &header.org_id)?;
        // Before the first byte is kept.
        self.may_import(&caller, org).await?;
        let mut upload = Upload::default();
        while let Some(message) = stream.message().await? {
            upload.take(message)?;
        }
        let request_id = first.as_ref().map_or("", |message| message.request_id.as_str());
        let mutation = Mutation::new(&caller, request_id, &essence(request_id, &header.org_id, &upload))?;
        let frozen = upload.files.into_iter().map(|(name, data)| (name, data.freeze()));
        let files: Files = frozen.collect();
        Ok(Response::new(
            self.check_roster_import(&caller, &mutation, org, files).await?,
        ))
    }

    async fn start_roster_import(
        &self,
        request: Request<pb::StartRosterImportRequest>,
    ) -> Answer<pb::StartRosterImportResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let (org, id) = convert::ids(&request.org_id, "roster_import_id", &request.roster_import_id)?;
        let mass = request.allow_mass_removal;
        let started = self.start_roster_import(&caller, &mutation, org, id, &request.etag, mass);
        Ok(Response::new(started.await?))
    }

    async fn get_roster_import(
        &self,
        request: Request<pb::GetRosterImportRequest>,
    ) -> Answer<pb::GetRosterImportResponse> {
        let (caller, request) = self.enter(request).await?;
        let (org, id) = convert::ids(&request.org_id, "roster_import_id", &request.roster_import_id)?;
        let found = self.get_roster_import(&caller, org, id).await?;
        Ok(Response::new(pb::GetRosterImportResponse {
            roster_import: Some(found),
        }))
    }

    async fn list_roster_imports(
        &self,
        request: Request<pb::ListRosterImportsRequest>,
    ) -> Answer<pb::ListRosterImportsResponse> {
        let (caller, request) = self.enter(request).await?;
        let org = convert::id("org_id", &request.org_id)?;
        let page = convert::page(request.page_size, &request.page_token, format!("imports {org}"))?;
        Ok(Response::new(self.list_roster_imports(&caller, org, page).await?))
    }

    async fn list_roster_import_changes(
        &self,
        request: Request<pb::ListRosterImportChangesRequest>,
    ) -> Answer<pb::ListRosterImportChangesResponse> {
        let (caller, request) = self.enter(request).await?;
        let (org, id) = convert::ids(&request.org_id, "roster_import_id", &request.roster_import_id)?;
        if pb::RosterChangeKind::try_from(request.kind).is_err() {
            return Err(invalid("kind", "is no kind of change").into());
        }
        let kind = i16::try_from(request.kind).ok().filter(|kind| *kind != 0);
        let filter = format!("changes {org} {id} {}", request.kind);
        let page = page(request.page_size, &request.page_token, filter)?;
        let list = self.list_roster_import_changes(&caller, org, id, kind, page);
        Ok(Response::new(list.await?))
    }

    async fn list_roster_import_problems(
        &self,
        request: Request<pb::ListRosterImportProblemsRequest>,
    ) -> Answer<pb::ListRosterImportProblemsResponse> {
        let (caller, request) = self.enter(request).await?;
        let (org, id) = convert::ids(&request.org_id, "roster_import_id", &request.roster_import_id)?;
        let page = page(
            request.page_size,
            &request.page_token,
            format!("problems {org} {id}"),
        )?;
        let list = self.list_roster_import_problems(&caller, org, id, page);
        Ok(Response::new(list.await?))
    }

    type WatchRosterImportStream = BoxStream<'static, Result<pb::WatchRosterImportResponse, Status>>;

    async fn watch_roster_import(
        &self,
        request: Request<pb::WatchRosterImportRequest>,
    ) -> Answer<Self::WatchRosterImportStream> {
        let (caller, request) = self.enter(request).await?;
        let (org, id) = convert::ids(&request.org_id, "roster_import_id", &request.roster_import_id)?;
        // Marked before the first look: what happens meanwhile is not missed.
        let mut progress = self.progress.subscribe();
        progress.mark_unchanged();
        let first = self.get_roster_import(&caller, org, id).await?;
        let context = self.clone();
        let states = stream::unfold(
            (Some(first), None, progress),
            move |(next, last, mut progress)| {
                let (context, caller) = (context.clone(), caller.clone());
                async move {
                    let over = |import: &pb::RosterImport| {
                        let ended = [RosterImportState::Refused, RosterImportState::Done];
                        ended.contains(&import.state())
                    };
                    if let Some(first) = next {
                        return Some((Ok(first.clone()), (None, Some(first), progress)));
                    }
                    let last = last.filter(|last| !over(last))?;
                    loop {
                        let _woken = tokio::time::timeout(LOOK, progress.changed()).await;
                        match context.get_roster_import(&caller, org, id).await {
                            Ok(now) if now == last => {}
                            Ok(now) => return Some((Ok(now.clone()), (None, Some(now), progress))),
                            Err(error) => return Some((Err(Status::from(error)), (None, None, progress))),
                        }
                    }
                }
            },
        );
        let answers = states.map(|state| {
            state.map(|import| pb::WatchRosterImportResponse {
                roster_import: Some(import),
            })
        });
        Ok(Response::new(answers.boxed()))
    }
}
