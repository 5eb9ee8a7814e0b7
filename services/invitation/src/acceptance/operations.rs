//! Accepting an invitation (R16): reserve a use, let membership admit, confirm or give the use back.
//!
//! No transaction is open while membership is called. The reservation says how far it is, so a crash at any point
//! leaves something that the durable job finishes: it was written in the same transaction. One attempt at a time, by a
//! lease: a refusal that one attempt heard must not give back the use by which another one was let in.
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use backon::BackoffBuilder as _;
use chrono::TimeDelta;
use parta_access::{Caller, Decision, OrgScope, Principal, authorize};
use parta_grpc::RequestExt as _;
use parta_ids::{FlowId, MemberId, OrgId, ReservationId, TypedId as _};
use parta_proto::parta::{
    invitation::v1::{AcceptInvitationResponse, InvitationUsed, invitation_event::Payload},
    membership::internal::v1::{
        AdmitMemberRequest, AdmitMemberResponse, admission_service_client::AdmissionServiceClient,
    },
};
use parta_status::{self as status, RpcError};
use parta_storage::{
    ConsistencyToken, Mutation, Tx,
    jobs::{self, Job, JobError, JobHandler},
};
use tonic::{Code, IntoRequest as _};

use super::storage as reservations;
use crate::{
    context::App,
    error::Error,
    invitations::{
        convert,
        model::{Invitation, Reservation, Stage},
        secret::Presented,
        storage as invitations,
    },
};

/// Kind of the durable job that finishes what a crash interrupted.
pub(crate) const RESUME_JOB: &str = "invitation.resume_admission";

/// How long one attempt keeps others off: its own limit, and what the server may still work on when we gave up.
const LEASE: TimeDelta = TimeDelta::seconds(30);
const ATTEMPT: Duration = Duration::from_secs(15);

/// Who was let in.
struct Admitted {
    member: MemberId,
    /// By this link before: nobody new came in.
    already: bool,
    /// Membership's consistency token, so that whoever came in is known wherever they go next; empty if told before.
    token: String,
}

/// What membership's answer means for the use.
enum Verdict {
    Admitted(Admitted),
    Refused(String),
    Unknown,
}

impl App {
    /// Lets the person of a join ticket in.
    pub(crate) async fn accept(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        secret: Option<Presented>,
    ) -> Result<AcceptInvitationResponse, Error> {
        let Principal::Joiner { flow_id } = caller.principal else {
            return Err(status::permission_denied("only a join ticket accepts an invitation").into());
        };
        let secret = &secret.ok_or(Error::NotUsable)?;
        let leased = &AtomicBool::new(false);
        let reserved: AcceptInvitationResponse = self
            .db
            .mutate(mutation, |tx| async move {
                self.reserve(&tx, caller, flow_id, secret, leased).await
            })
            .await?;
        let org = convert::stored_id::<OrgId>(&reserved.org_id)?;
        let id = convert::stored_id::<ReservationId>(&reserved.reservation_id)?;
        let scope = authorize(caller, org, Decision::Allow)?;
        self.finish(caller, &scope, id, leased.load(Ordering::Relaxed))
            .await
    }

    /// Takes a use for this flow, or finds the one it has.
    async fn reserve(
        &self,
        tx: &Tx,
        caller: &Caller,
        flow_id: FlowId,
        secret: &Presented,
        leased: &AtomicBool,
    ) -> Result<AcceptInvitationResponse, Error> {
        let invitation = invitations::find_by_secret(tx, secret)
            .await?
            .ok_or(Error::NotUsable)?;
        let org_id = invitation.draft.org_id;
        let scope = &authorize(caller, org_id, Decision::Allow)?;
        let now = tx.now();
        let fresh = Reservation {
            id: tx.env().id::<ReservationId>(),
            org_id,
            invitation_id: invitation.id,
            flow_id,
            stage: Stage::Pending,
        };
        // The row first: a second acceptance of the same person waits here for the first and then finds its row.
        let inserted = reservations::insert(tx, scope, &fresh, now, now + LEASE).await?;
        leased.store(inserted, Ordering::Relaxed);
        if !inserted {
            let known = reservations::find_by_flow(tx, scope, invitation.id, flow_id).await?;
            return Ok(answer(&known.ok_or_else(status::conflict)?, None));
        }
        if !invitations::take_use(tx, scope, invitation.id, now).await? {
            return Err(Error::NotUsable);
        }
        let (job, due) = (fresh.id.to_string().into_bytes(), now + LEASE);
        jobs::enqueue_at(tx, RESUME_JOB, Some(org_id), job, fresh.id.uuid(), due).await?;
        parta_audit::record(tx, caller, Some(org_id), invitation.resource_name()).await?;
        Ok(answer(&fresh, None))
    }

    /// Brings a reservation to its end: by the caller right after it was made, by the job after a crash.
    async fn finish(
        &self,
        caller: &Caller,
        scope: &OrgScope,
        id: ReservationId,
        leased: bool,
    ) -> Result<AcceptInvitationResponse, Error> {
        if !leased && !self.lease(scope, id).await? {
            return Err(Error::AdmissionUnavailable);
        }
        let reservation = &self.reservation(scope, id).await?;
        let verdict = match &reservation.stage {
            Stage::Pending => self.admit(scope, reservation).await?,
            // Ended before: the recorded end is answered again.
            Stage::Confirmed(member) => Verdict::Admitted(Admitted {
                member: *member,
                already: false,
                token: String::new(),
            }),
            Stage::Released(reason) => return Err(Error::AdmissionRefused(reason.clone())),
        };
        match verdict {
            Verdict::Admitted(admitted) => {
                let mut answer = self.confirm(caller, scope, reservation, &admitted).await?;
                answer.consistency_token = self.merge_tokens(&answer.consistency_token, &admitted.token)?;
                Ok(answer)
            }
            Verdict::Refused(reason) => self.release(caller, scope, reservation, &reason).await,
            Verdict::Unknown => Err(Error::AdmissionUnavailable),
        }
    }

    async fn reservation(&self, scope: &OrgScope, id: ReservationId) -> Result<Reservation, Error> {
        let found = reservations::find(self.db.conn(), scope, id).await?;
        found.ok_or_else(|| RpcError::internal(format!("reservation {id} is gone")).into())
    }

    /// Waits, bounded, until nobody else is finishing the reservation. `true`: it is ended, or ours to finish.
    async fn lease(&self, scope: &OrgScope, id: ReservationId) -> Result<bool, Error> {
        let mut pauses = backon::ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(20))
            .with_max_delay(Duration::from_millis(400))
            .with_max_times(14)
            .build();
        loop {
            if self.reservation(scope, id).await?.stage != Stage::Pending {
                return Ok(true);
            }
            let ours = self
                .db
                .write(|tx| async move {
                    let now = tx.now();
                    Ok::<_, Error>(reservations::update_leased(&tx, scope, id, now, now + LEASE).await?)
                })
                .await?;
            if ours {
                return Ok(true);
            }
            let Some(pause) = pauses.next() else {
                return Ok(false);
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks membership. Its answer is the same however often it is asked with this reservation.
    async fn admit(&self, scope: &OrgScope, reservation: &Reservation) -> Result<Verdict, Error> {
        let id = reservation.invitation_id;
        let invitation = invitations::find(self.db.conn(), scope, id)
            .await?
            .ok_or(Error::Unknown(id))?;
        let request = admission(&invitation, reservation).into_request().idempotent();
        let channel = self.peers.client("membership").map_err(RpcError::internal)?;
        let answer = tokio::time::timeout(ATTEMPT, async {
            AdmissionServiceClient::new(channel).admit_member(request).await
        });
        let status = match answer.await {
            Err(_) => return Ok(Verdict::Unknown),
            Ok(Ok(admitted)) => {
                let AdmitMemberResponse {
                    member_id,
                    already_member,
                    consistency_token,
                } = admitted.into_inner();
                return Ok(Verdict::Admitted(Admitted {
                    member: convert::stored_id(&member_id)?,
                    already: already_member,
                    token: consistency_token,
                }));
            }
            Ok(Err(status)) => status,
        };
        if let Some(reason) = refused_by_membership(&status) {
            return Ok(Verdict::Refused(reason));
        }
        tracing::info!(code = ?status.code(), reservation.id = %reservation.id, "membership did not admit yet");
        // The attempt is over, so that the next need not wait for the end of the lease.
        self.db
            .write(|tx| async move {
                let now = tx.now();
                Ok::<_, Error>(reservations::update_unleased(&tx, scope, reservation.id, now).await?)
            })
            .await?;
        Ok(Verdict::Unknown)
    }

    async fn confirm(
        &self,
        caller: &Caller,
        scope: &OrgScope,
        reservation: &Reservation,
        admitted: &Admitted,
    ) -> Result<AcceptInvitationResponse, Error> {
        let member = admitted.member;
        let done = answer(reservation, Some(member));
        let mutation = Mutation::internal("invitation.confirm", reservation.id.uuid(), &done);
        let done = &done;
        let confirmed = self
            .db
            .mutate(&mutation, |tx| async move {
                let (now, invitation) = (tx.now(), reservation.invitation_id);
                if reservations::update_confirmed(&tx, scope, reservation.id, member, now).await? {
                    if admitted.already {
                        // Nobody new came in by it: the use goes back (R16).
                        invitations::give_back_use(&tx, scope, invitation).await?;
                    }
                    invitations::update_last_use(&tx, scope, invitation, now).await?;
                    let name = format!("organizations/{}/invitations/{invitation}", scope.org_id());
                    parta_audit::record(&tx, caller, Some(scope.org_id()), name).await?;
                    let event = InvitationUsed {
                        invitation_id: invitation.to_string(),
                        member_id: member.to_string(),
                    };
                    parta_feed::append_event(&tx, scope.org_id(), Payload::InvitationUsed(event));
                }
                Ok::<_, Error>(done.clone())
            })
            .await?;
        Ok(confirmed)
    }

    /// One token for what two services did.
    fn merge_tokens(&self, own: &str, membership: &str) -> Result<String, RpcError> {
        let read = |text| ConsistencyToken::decode(text, self.db.secrets());
        // What is no token here is membership's slip, not the caller's.
        let membership = read(membership).map_err(|e| RpcError::internal(e.to_string()))?;
        Ok(read(own)?.merge(membership).encode(self.db.secrets()))
    }

    async fn release(
        &self,
        caller: &Caller,
        scope: &OrgScope,
        reservation: &Reservation,
        reason: &str,
    ) -> Result<AcceptInvitationResponse, Error> {
        self.db
            .write(|tx| async move {
                let (now, invitation) = (tx.now(), reservation.invitation_id);
                if reservations::update_released(&tx, scope, reservation.id, reason, now).await? {
                    invitations::give_back_use(&tx, scope, invitation).await?;
                    let name = format!("organizations/{}/invitations/{invitation}", scope.org_id());
                    parta_audit::record(&tx, caller, Some(scope.org_id()), name).await?;
                }
                Ok::<_, Error>(())
            })
            .await?;
        Err(Error::AdmissionRefused(reason.to_owned()))
    }
}

/// Finishes reservations that nobody finished: a crash, or membership did not answer in time.
#[async_trait]
impl JobHandler for App {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let id = std::str::from_utf8(&job.payload)
            .ok()
            .and_then(|t| t.parse::<ReservationId>().ok());
        let (Some(id), Some(org)) = (id, job.org_id) else {
            return Err(JobError::Fatal("the payload is no reservation".to_owned()));
        };
        let scope = OrgScope::for_consumer(RESUME_JOB, org);
        let caller = Caller::new(
            Principal::Service {
                name: self.db.service().to_owned(),
            },
            RESUME_JOB,
        );
        match self.finish(&caller, &scope, id, false).await {
            Ok(_) | Err(Error::AdmissionRefused(_)) => Ok(()),
            Err(error) => Err(JobError::Retry(error.to_string())),
        }
    }
}

fn answer(reservation: &Reservation, member: Option<MemberId>) -> AcceptInvitationResponse {
    AcceptInvitationResponse {
        org_id: reservation.org_id.to_string(),
        invitation_id: reservation.invitation_id.to_string(),
        reservation_id: reservation.id.to_string(),
        member_id: member.map(|m| m.to_string()).unwrap_or_default(),
        consistency_token: String::new(),
    }
}

fn admission(invitation: &Invitation, reservation: &Reservation) -> AdmitMemberRequest {
    let draft = &invitation.draft;
    let text = |member: Option<MemberId>| member.map(|m| m.to_string()).unwrap_or_default();
    AdmitMemberRequest {
        request_id: reservation.id.uuid().to_string(),
        org_id: draft.org_id.to_string(),
        invitation_id: invitation.id.to_string(),
        flow_id: reservation.flow_id.to_string(),
        role: convert::role_out(draft.role).into(),
        unit_id: draft.unit_id.map(|u| u.to_string()).unwrap_or_default(),
        child_id: text(draft.child_id),
        claim_member_id: text(draft.claim_member_id),
        issuer_id: text(invitation.issuer_id),
    }
}

/// The reason of an answer that repeating would not change. Anything else leaves the use reserved.
fn refused_by_membership(status: &tonic::Status) -> Option<String> {
    let settled = matches!(
        status.code(),
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
    );
    let reason = RpcError::from_status(status).filter(|_| settled)?;
    Some(reason.reason().to_owned())
}
