//! Reserving a use, finishing the reservation, and the job that finishes interrupted ones.
//!
//! No transaction is open while membership is called. The reservation's stage says what has happened, and the
//! job was enqueued in the transaction of the reservation, so that the job finishes an acceptance after a
//! crash at any point. One attempt at a time holds the lease: a refusal that one attempt receives must not
//! release the use by which another attempt admitted the person.
use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use backon::BackoffBuilder as _;
use chrono::TimeDelta;
use parta_access::{Caller, LinkDigest, OrgScope, Principal, lookup_scope};
use parta_database::StorageError;
use parta_edge::{Mutation, Stored};
use parta_ids::{FlowId, InvitationId, JoinRequestId, MemberId, OrgId, ReservationId, TypedId as _};
use parta_jobs::{Job, JobError, JobHandler};
use parta_mutations::ConsistencyToken;
use parta_status::{self as status, RpcError};
use serde::{Deserialize, Serialize};

use super::{
    admission::{self, Admitted, Verdict},
    events,
    model::{Reservation, Stage},
    storage,
};
use crate::{
    context::{Context, Run},
    error::Error,
    invitations::{self, Invitation, Presented, State},
};

/// Kind of the durable job that finishes interrupted acceptances.
pub(crate) const RESUME_JOB: &str = "invitation.resume_admission";

/// The reason of a use that was released because the person had made a request by another acceptance.
const REQUEST_PENDING: &str = "JOIN_REQUEST_PENDING";

/// The time for which one attempt excludes others: the deadline of its call, and the time that
/// membership may work after it.
const LEASE: TimeDelta = TimeDelta::seconds(30);

/// Reserves a use of a link for the caller's join flow, or finds the use that the flow has.
#[derive(Debug)]
pub(crate) struct AcceptInvitation {
    /// `None` if no secret has the form of the presented text.
    pub(crate) secret: Option<Presented>,
    /// The digest of the presented text.
    pub(crate) link: LinkDigest,
}

impl AcceptInvitation {
    /// The flow of the caller. A ticket that was made for another link gives no right to this one, and the
    /// refusal does not say whether there is such a link.
    fn join_flow(&self, caller: &Caller) -> Result<FlowId, Error> {
        match &caller.principal {
            Principal::Joiner { flow_id, link, .. } if *link == self.link => Ok(*flow_id),
            Principal::Joiner { .. } => Err(Error::NotUsable),
            _ => Err(status::permission_denied("Only a join ticket can accept an invitation.").into()),
        }
    }
}

/// The proof that the caller may accept this invitation.
pub(crate) struct MayAccept {
    scope: OrgScope,
    flow_id: FlowId,
    invitation: Invitation,
}

/// The reservation that an acceptance leads to, kept for repetitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reserved {
    org_id: OrgId,
    invitation_id: InvitationId,
    reservation_id: ReservationId,
}

impl Stored for Reserved {}

impl Mutation for AcceptInvitation {
    type Context = Context;
    type Grant = MayAccept;
    type Outcome = Reserved;
    type View = Reserved;
    type Error = Error;

    /// The link must be active, or the flow must have a use of it: a caller does not learn why a link is
    /// unusable.
    async fn authorize(&self, run: Run<'_>) -> Result<MayAccept, Error> {
        let Run { context, tx, caller } = run;
        let flow_id = self.join_flow(caller)?;
        let secret = self.secret.as_ref().ok_or(Error::NotUsable)?;
        let invitation = invitations::find_by_secret(tx, secret)
            .await?
            .ok_or(Error::NotUsable)?;
        let scope = lookup_scope(caller, invitation.draft.org_id)?;
        let works = invitation.state(tx.now()) == State::Active
            && invitations::stop_of(context, tx, &invitation).await?.is_none();
        if !works {
            storage::find_by_flow(tx, &scope, invitation.id, flow_id)
                .await?
                .ok_or(Error::NotUsable)?;
        }
        Ok(MayAccept {
            scope,
            flow_id,
            invitation,
        })
    }

    async fn act(&self, run: Run<'_>, grant: &MayAccept) -> Result<Reserved, Error> {
        let Run { tx, caller, .. } = run;
        let MayAccept {
            scope,
            flow_id,
            invitation,
        } = grant;
        let (org_id, now) = (scope.org_id(), tx.now());
        let reserved = |reservation_id| Reserved {
            org_id,
            invitation_id: invitation.id,
            reservation_id,
        };
        let reservation = Reservation {
            id: tx.env().id::<ReservationId>(),
            org_id,
            invitation_id: invitation.id,
            flow_id: *flow_id,
            issuer_id: invitation.issuer_id,
            stage: Stage::Pending,
        };
        // The row comes first: a second acceptance of the same flow waits here for the first and then finds
        // its row.
        if !storage::insert(tx, scope, &reservation, now).await? {
            let earlier = storage::find_by_flow(tx, scope, invitation.id, *flow_id).await?;
            return Ok(reserved(earlier.ok_or_else(status::conflict)?.id));
        }
        if !invitations::reserve_use(tx, scope, invitation.id, now).await? {
            return Err(Error::NotUsable);
        }
        let (id, due) = (reservation.id, now + LEASE);
        let payload = id.to_string().into_bytes();
        parta_jobs::enqueue_at(tx, RESUME_JOB, Some(org_id), payload, id.uuid(), due).await?;
        parta_audit::record(tx, caller, Some(org_id), invitation.resource_name()).await?;
        Ok(reserved(id))
    }

    async fn view(&self, _: Run<'_>, _: &MayAccept, outcome: &Reserved) -> Result<Reserved, Error> {
        Ok(outcome.clone())
    }

    /// The flow that reserved the use learns the outcome, also after the link was used up or revoked: the act
    /// itself may have reserved the last use.
    async fn regrant(&self, run: Run<'_>, outcome: &Reserved) -> Result<MayAccept, Error> {
        let Run { tx, caller, .. } = run;
        let flow_id = self.join_flow(caller)?;
        let scope = lookup_scope(caller, outcome.org_id)?;
        let invitation = invitations::find(tx, &scope, outcome.invitation_id).await?;
        Ok(MayAccept {
            scope,
            flow_id,
            invitation: invitation.ok_or(Error::Unknown(outcome.invitation_id))?,
        })
    }
}

/// An acceptance that has led to a membership or to a request.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) reservation: Reservation,
    /// `None` while staff has not decided about the request.
    pub(crate) member_id: Option<MemberId>,
    /// The request, if staff decides or has decided.
    pub(crate) join_request_id: Option<JoinRequestId>,
    /// Names the state of this service and, right after the admission, of membership.
    pub(crate) consistency_token: String,
}

/// Finishes a reservation: right after it was made, for a repetition, and from the job after a crash.
pub(crate) async fn finish(
    context: &Context,
    caller: &Caller,
    reserved: &Reserved,
) -> Result<Accepted, Error> {
    let scope = lookup_scope(caller, reserved.org_id)?;
    finish_in(context, caller, &scope, reserved.reservation_id).await
}

async fn finish_in(
    context: &Context,
    caller: &Caller,
    scope: &OrgScope,
    id: ReservationId,
) -> Result<Accepted, Error> {
    if !acquire(context, scope, id).await? {
        return Err(Error::AdmissionUnavailable);
    }
    let reservation = load(context, scope, id).await?;
    let verdict = match &reservation.stage {
        Stage::Pending => admit(context, scope, &reservation).await?,
        Stage::Confirmed(member) => Verdict::Admitted(Admitted {
            member_id: *member,
            already_member: false,
            consistency_token: String::new(),
        }),
        Stage::Requested(id) => Verdict::Requested(*id),
        Stage::Released(reason) => return Err(Error::AdmissionRefused(reason.clone(), None)),
    };
    match verdict {
        Verdict::Admitted(admitted) => {
            let own = confirm(context, caller, scope, &reservation, &admitted).await?;
            Ok(Accepted {
                reservation,
                member_id: Some(admitted.member_id),
                join_request_id: None,
                consistency_token: merge_tokens(context, &own, &admitted.consistency_token)?,
            })
        }
        Verdict::Requested(id) => {
            note_request(context, caller, scope, &reservation, id).await?;
            Ok(Accepted {
                reservation,
                member_id: None,
                join_request_id: Some(id),
                consistency_token: String::new(),
            })
        }
        Verdict::Refused(refusal) => {
            release(context, caller, scope, &reservation, &refusal.reason).await?;
            Err(Error::AdmissionRefused(refusal.reason, refusal.retry_after))
        }
        Verdict::Failed | Verdict::TimedOut => Err(Error::AdmissionUnavailable),
    }
}

async fn load(context: &Context, scope: &OrgScope, id: ReservationId) -> Result<Reservation, Error> {
    let found = storage::find(context.db.conn(), scope, id).await?;
    found.ok_or_else(|| RpcError::internal(format!("reservation {id} does not exist")).into())
}

/// Waits up to about five seconds until no other attempt holds the lease. Returns `true` if the reservation
/// is finished or the lease is acquired.
async fn acquire(context: &Context, scope: &OrgScope, id: ReservationId) -> Result<bool, Error> {
    let mut pauses = backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_millis(400))
        .with_max_times(14)
        .build();
    loop {
        if load(context, scope, id).await?.stage != Stage::Pending {
            return Ok(true);
        }
        let acquired = context
            .db
            .write(|tx| async move {
                let now = tx.now();
                Ok::<_, Error>(storage::update_leased(&tx, scope, id, now, now + LEASE).await?)
            })
            .await?;
        if acquired {
            return Ok(true);
        }
        let Some(pause) = pauses.next() else {
            return Ok(false);
        };
        tokio::time::sleep(pause).await;
    }
}

/// Finds the invitation of a reservation, and whether it still admits (F18): the acceptance may have been
/// interrupted long ago. The use was reserved in time, so that an expiry since then does not matter.
async fn judge(
    context: &Context,
    scope: &OrgScope,
    reservation: &Reservation,
) -> Result<(Invitation, bool), Error> {
    let id = reservation.invitation_id;
    context
        .db
        .read(|tx| async move {
            let found = invitations::find(&tx, scope, id).await?;
            let invitation = found.ok_or(Error::Unknown(id))?;
            let admits = invitation.state(tx.now()) != State::Revoked
                && invitations::stop_of(context, &tx, &invitation).await?.is_none();
            Ok((invitation, admits))
        })
        .await
}

/// Calls membership: it admits the person, or, if the link no longer admits, cancels an admission that an
/// earlier attempt may have begun. After a failed call the lease is released, so that the next attempt does
/// not wait for its end.
async fn admit(context: &Context, scope: &OrgScope, reservation: &Reservation) -> Result<Verdict, Error> {
    let verdict = match judge(context, scope, reservation).await {
        Ok((invitation, true)) => admission::admit(context, &invitation, reservation)
            .await
            .map_err(Error::from),
        Ok((invitation, false)) => admission::cancel(context, &invitation, reservation)
            .await
            .map_err(Error::from),
        Err(error) => Err(error),
    };
    if matches!(verdict, Ok(Verdict::Failed) | Err(_)) {
        let id = reservation.id;
        context
            .db
            .write(|tx| async move {
                let now = tx.now();
                Ok::<_, Error>(storage::update_unleased(&tx, scope, id, now).await?)
            })
            .await?;
    }
    verdict
}

/// Notes the request about which staff decides. If it was made by another acceptance of the same person, for
/// example by the code after the token of the link, the person has one use, and this one is released.
async fn note_request(
    context: &Context,
    caller: &Caller,
    scope: &OrgScope,
    reservation: &Reservation,
    request: JoinRequestId,
) -> Result<(), Error> {
    let noted = context
        .db
        .write(|tx| async move {
            if storage::is_request_of_another(&tx, scope, reservation.id, request).await? {
                return Ok(false);
            }
            storage::update_requested(&tx, scope, reservation.id, request).await?;
            Ok::<_, StorageError>(true)
        })
        .await;
    match noted {
        Ok(true) => Ok(()),
        // Both may be noted at the same time; the unique index admits one.
        Ok(false) | Err(StorageError::UniqueViolation { .. }) => {
            release(context, caller, scope, reservation, REQUEST_PENDING).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Confirms the reservation and returns this service's consistency token. Does nothing if it was confirmed
/// before.
pub(super) async fn confirm(
    context: &Context,
    caller: &Caller,
    scope: &OrgScope,
    reservation: &Reservation,
    admitted: &Admitted,
) -> Result<String, Error> {
    let (org, invitation, member) = (scope.org_id(), reservation.invitation_id, admitted.member_id);
    context
        .db
        .write(|tx| async move {
            let now = tx.now();
            tx.act_for(Some(org));
            if storage::update_confirmed(&tx, scope, reservation.id, member, now).await? {
                if admitted.already_member {
                    // Nobody new joined, so the use is released (R16).
                    invitations::release_use(&tx, scope, invitation).await?;
                }
                invitations::update_last_use(&tx, scope, invitation, now).await?;
                parta_audit::record(&tx, caller, Some(org), resource_name(reservation)).await?;
                events::used(&tx, org, invitation, member);
            }
            Ok::<_, Error>(parta_mutations::finish(&tx).await?)
        })
        .await
}

pub(super) async fn release(
    context: &Context,
    caller: &Caller,
    scope: &OrgScope,
    reservation: &Reservation,
    reason: &str,
) -> Result<(), Error> {
    context
        .db
        .write(|tx| async move {
            if storage::update_released(&tx, scope, reservation.id, reason, tx.now()).await? {
                invitations::release_use(&tx, scope, reservation.invitation_id).await?;
                let object = resource_name(reservation);
                parta_audit::record(&tx, caller, Some(scope.org_id()), object).await?;
            }
            Ok(())
        })
        .await
}

fn resource_name(reservation: &Reservation) -> String {
    let Reservation {
        org_id,
        invitation_id,
        ..
    } = reservation;
    format!("organizations/{org_id}/invitations/{invitation_id}")
}

/// One token for the acts of two services.
fn merge_tokens(context: &Context, own: &str, membership: &str) -> Result<String, RpcError> {
    let secrets = context.db.secrets();
    let decode = |text| ConsistencyToken::decode(text, secrets);
    // A malformed token of membership is a fault of the server, not of the caller.
    let membership = decode(membership).map_err(|e| RpcError::internal(e.to_string()))?;
    let token = match (decode(own)?, membership) {
        (Some(own), Some(membership)) => Some(own.merge(membership)?),
        (own, membership) => own.or(membership),
    };
    Ok(token.map(|token| token.encode(secrets)).unwrap_or_default())
}

/// Runs [`RESUME_JOB`]: finishes acceptances after a crash, or after membership did not decide in time.
pub(crate) struct ResumeAdmissions(pub(crate) Arc<Context>);

#[async_trait]
impl JobHandler for ResumeAdmissions {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let id = std::str::from_utf8(&job.payload)
            .ok()
            .and_then(|text| text.parse::<ReservationId>().ok());
        let (Some(id), Some(org)) = (id, job.org_id) else {
            return Err(JobError::Fatal("the payload is not a reservation id".to_owned()));
        };
        let scope = OrgScope::for_consumer(RESUME_JOB, org);
        let service = Principal::Service {
            name: self.0.db.service().to_owned(),
        };
        let caller = Caller::new(service, RESUME_JOB);
        match finish_in(&self.0, &caller, &scope, id).await {
            Ok(_) | Err(Error::AdmissionRefused(..)) => Ok(()),
            // A message of a refusal may name a person, so the failure has its reason only.
            Err(error) => Err(JobError::Retry(RpcError::from(error).reason().to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::Uuid;

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let reserved = Reserved {
            org_id: OrgId::from_uuid(Uuid::from_u128(1)),
            invitation_id: InvitationId::from_uuid(Uuid::from_u128(2)),
            reservation_id: ReservationId::from_uuid(Uuid::from_u128(3)),
        };
        let stored = reserved.encode().unwrap();
        let form = format!(
            "\u{1}{{\"org_id\":\"{}\",\"invitation_id\":\"{}\",\"reservation_id\":\"{}\"}}",
            reserved.org_id, reserved.invitation_id, reserved.reservation_id
        );
        assert_eq!(stored, form.as_bytes());
        assert_eq!(Reserved::decode(&stored).unwrap(), reserved);
    }
}
