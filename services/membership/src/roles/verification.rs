//! The verification of teachers (R22): a teacher requests it, the administration decides, singly or as
//! a list.

use chrono::TimeDelta;
use parta_access::{Caller, OrgScope};
use parta_database::Tx;
use parta_edge::{Mutation, Page, PageRequest, Query, Read, Stored};
use parta_ids::{MemberId, OrgId};
use parta_limits::{Bucket, Limit, Limiter, Subject};
use parta_roster::{Role, State};
use parta_status::RpcError;
use serde::{Deserialize, Serialize};

use super::{
    VerificationRequest, policy,
    steps::{Changed, audit, load, readable, save},
    storage,
    verification_end::forget_end,
};
use crate::{
    context::{Context, Decider, Run},
    error::Error,
    member_records::{self, Member, MemberView},
};

/// The requests of one teacher: each is written to the audit log and read by the administration.
const REQUESTS: Limit = Limit {
    name: "verification_requests",
    bucket: Bucket {
        burst: 5,
        interval: TimeDelta::hours(4),
    },
};

/// The name of a request for verification in refusals.
const KIND: &str = "verification request";

/// Deletes the request of a member, if there is one: it is decided, or the member is no teacher any longer.
pub(crate) async fn forget_request(tx: &Tx, scope: &OrgScope, member: MemberId) -> Result<(), Error> {
    storage::delete(tx, scope, member).await?;
    Ok(())
}

/// Gives or takes the badge of a locked member, by the decision of a verifier on a ground.
async fn set(
    tx: &Tx,
    caller: &Caller,
    verifier: &Decider,
    mut member: Member,
    (verified, ground): (bool, &str),
) -> Result<Changed, Error> {
    let scope = &verifier.scope;
    // The withdrawal of one's own badge gives nobody anything.
    if verified {
        verifier.require_second_person(member.id)?;
    }
    if !member.has(Role::Teacher) {
        return Err(Error::not_a_teacher());
    }
    member.teacher_verified = verified;
    member.evidence = Some(ground.to_owned());
    member.verifier_id = Some(verifier.member_id);
    forget_request(tx, scope, member.id).await?;
    forget_end(tx, scope, member.id).await?;
    storage::changes::note_badge_decision(tx, scope, member.id).await?;
    save(tx, caller, scope, member).await
}

/// Verifies a teacher, or withdraws the verification. The ground is kept with the deciding member.
#[derive(Debug)]
pub(crate) struct SetVerification {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    pub(crate) verified: bool,
    pub(crate) ground: String,
}

impl Mutation for SetVerification {
    type Context = Context;
    type Grant = Decider;
    type Outcome = Changed;
    type View = MemberView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<Decider, Error> {
        let Run { context, tx, caller } = run;
        Ok(context.authorize(tx, caller, self.org_id, policy::verify).await?)
    }

    async fn act(&self, run: Run<'_>, verifier: &Decider) -> Result<Changed, Error> {
        let of = (&verifier.scope, self.member_id);
        let member = member_records::lock_to_decide(self, run, of).await?;
        set(
            run.tx,
            run.caller,
            verifier,
            member,
            (self.verified, &self.ground),
        )
        .await
    }

    async fn view(&self, run: Run<'_>, by: &Decider, outcome: &Changed) -> Result<MemberView, Error> {
        load(run.tx, &by.scope, outcome.member_id).await
    }
}

/// The outcome of VerifyTeachers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verified {
    member_ids: Vec<MemberId>,
}

impl Stored for Verified {}

/// Verifies the teachers of a list: all of them, or none.
#[derive(Debug)]
pub(crate) struct VerifyTeachers {
    pub(crate) org_id: OrgId,
    /// At least one, each once.
    pub(crate) member_ids: Vec<MemberId>,
    pub(crate) ground: String,
}

/// Names the member about whom a row of a list was refused.
fn naming(member: MemberId, error: Error) -> Error {
    match error {
        // A failure of the database keeps its class, because a repetition may succeed.
        Error::Storage(_) => error,
        Error::State { .. } | Error::Refused(_) => RpcError::from(error).resource("member", member).into(),
    }
}

impl Mutation for VerifyTeachers {
    type Context = Context;
    type Grant = Decider;
    type Outcome = Verified;
    type View = Vec<MemberView>;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<Decider, Error> {
        let Run { context, tx, caller } = run;
        Ok(context.authorize(tx, caller, self.org_id, policy::verify).await?)
    }

    async fn act(&self, run: Run<'_>, verifier: &Decider) -> Result<Verified, Error> {
        let Run { tx, caller, .. } = run;
        let ids = self.member_ids.iter().copied();
        let mut rows = member_records::storage::lock_all(tx, &verifier.scope, ids).await?;
        // Between the decision and the locks the caller may have lost the role.
        self.authorize(run).await?;
        for id in &self.member_ids {
            let decide = async |row: Option<Member>| {
                let member = row.ok_or_else(|| Error::unknown("member", id))?;
                if member.state == State::Left {
                    return Err(Error::member_left());
                }
                set(tx, caller, verifier, member, (true, &self.ground)).await
            };
            let decided = decide(rows.remove(id)).await;
            decided.map_err(|error| naming(*id, error))?;
        }
        Ok(Verified {
            member_ids: self.member_ids.clone(),
        })
    }

    async fn view(&self, run: Run<'_>, by: &Decider, outcome: &Verified) -> Result<Vec<MemberView>, Error> {
        let mut views = Vec::with_capacity(outcome.member_ids.len());
        for id in &outcome.member_ids {
            views.push(load(run.tx, &by.scope, *id).await?);
        }
        Ok(views)
    }
}

/// The outcome of an act about a request for verification.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RequestChanged {
    member_id: MemberId,
}

impl Stored for RequestChanged {}

/// A teacher requests their own verification.
#[derive(Debug)]
pub(crate) struct RequestVerification {
    pub(crate) org_id: OrgId,
    pub(crate) evidence: String,
}

impl Mutation for RequestVerification {
    type Context = Context;
    type Grant = Decider;
    type Outcome = RequestChanged;
    type View = MemberView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<Decider, Error> {
        let Run { context, tx, caller } = run;
        Ok(context
            .authorize(tx, caller, self.org_id, policy::request_verification)
            .await?)
    }

    async fn act(&self, run: Run<'_>, teacher: &Decider) -> Result<RequestChanged, Error> {
        let Run { tx, caller, .. } = run;
        let (scope, own) = (&teacher.scope, teacher.member_id);
        let member = member_records::storage::lock(tx, scope, own).await?;
        // Between the decision and the lock the member may have lost the role, or have left.
        self.authorize(run).await?;
        if member.is_some_and(|member| !member.teacher_verified) {
            let limiter = Limiter::new(tx, caller);
            limiter.take(REQUESTS, Subject::Caller).await?;
            let request = VerificationRequest {
                member_id: own,
                evidence: self.evidence.clone(),
                create_time: tx.now(),
            };
            storage::save(tx, scope, &request).await?;
        }
        audit(tx, caller, self.org_id, own).await?;
        Ok(RequestChanged { member_id: own })
    }

    async fn view(&self, run: Run<'_>, by: &Decider, outcome: &RequestChanged) -> Result<MemberView, Error> {
        load(run.tx, &by.scope, outcome.member_id).await
    }
}

/// Refuses the request of a teacher, who may make another.
#[derive(Debug)]
pub(crate) struct RefuseVerification {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
}

impl Mutation for RefuseVerification {
    type Context = Context;
    type Grant = Decider;
    type Outcome = RequestChanged;
    type View = MemberView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<Decider, Error> {
        let Run { context, tx, caller } = run;
        Ok(context.authorize(tx, caller, self.org_id, policy::verify).await?)
    }

    async fn act(&self, run: Run<'_>, refuser: &Decider) -> Result<RequestChanged, Error> {
        let Run { tx, caller, .. } = run;
        let scope = &refuser.scope;
        member_records::storage::lock(tx, scope, self.member_id).await?;
        // Between the decision and the lock the caller may have lost the role.
        self.authorize(run).await?;
        if !storage::delete(tx, scope, self.member_id).await? {
            return Err(Error::unknown(KIND, self.member_id));
        }
        storage::changes::note_badge_decision(tx, scope, self.member_id).await?;
        audit(tx, caller, self.org_id, self.member_id).await?;
        Ok(RequestChanged {
            member_id: self.member_id,
        })
    }

    async fn view(&self, run: Run<'_>, by: &Decider, outcome: &RequestChanged) -> Result<MemberView, Error> {
        load(run.tx, &by.scope, outcome.member_id).await
    }
}

/// Lists the requests for verification; a teacher gets their own.
#[derive(Debug)]
pub(crate) struct ListVerificationRequests {
    pub(crate) org_id: OrgId,
    pub(crate) page: PageRequest,
}

impl Query for ListVerificationRequests {
    type Context = Context;
    type View = Page<VerificationRequest>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<VerificationRequest>>, Error> {
        let Run { tx, caller, .. } = run;
        let (scope, among) = readable(run, self.org_id).await?;
        let after = self.page.after(tx, caller)?;
        let rows = storage::list(tx, &scope, among, after, self.page.limit()).await?;
        let page = self.page.page(tx, caller, rows, |row| row.member_id);
        Ok(Read::audited(page, self.org_id, "verification-requests"))
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcomes_have_their_golden_forms() {
        let id = MemberId::from_uuid(Uuid::from_u128(1));
        let requested = RequestChanged { member_id: id }.encode().unwrap();
        assert_eq!(requested, format!("\u{1}{{\"member_id\":\"{id}\"}}").as_bytes());
        let all = Verified { member_ids: vec![id] }.encode().unwrap();
        assert_eq!(all, format!("\u{1}{{\"member_ids\":[\"{id}\"]}}").as_bytes());
    }
}
