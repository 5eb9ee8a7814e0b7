use parta_access::{OrgScope, service_scope};
use parta_edge::{Mutation, Stored};
use parta_ids::{JoinRequestId, MemberId};
use serde::{Deserialize, Serialize};

use crate::{
    accounts,
    admission::{model::Acceptance, storage},
    context::{Context, Run},
    error::Error,
    join_requests,
};

/// Makes the person of a join flow a member by an invitation, or creates a request for the staff. Only
/// services call it.
#[derive(Debug)]
pub(crate) struct AdmitMember(pub(crate) Acceptance);

/// The outcome of AdmitMember and of CancelAdmission, which is also their response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Admitted {
    Member {
        member_id: MemberId,
        /// Whether the person had joined by this invitation before.
        already_member: bool,
    },
    /// Staff decides about this request.
    #[serde(rename = "Asked")]
    Requested(JoinRequestId),
    /// The admission was canceled before it was carried out, and is not carried out later.
    Canceled,
}

impl Stored for Admitted {}

impl Mutation for AdmitMember {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = Admitted;
    type View = Admitted;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        Ok(service_scope(run.caller, self.0.terms.org_id)?)
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<Admitted, Error> {
        let Run { tx, caller, .. } = run;
        let Acceptance {
            terms,
            flow_id,
            open,
            recipient,
        } = &self.0;
        let account = storage::find_join_flow(tx, *flow_id).await?;
        let account = account.ok_or_else(Error::join_flow_unknown)?;
        if let Some(recipient) = recipient
            && !accounts::has_address(tx, account, recipient.text()).await?
        {
            return Err(Error::recipient_mismatch());
        }
        if let Some(member_id) = join_requests::present_by(tx, scope, terms.invitation_id, account).await? {
            return Ok(Admitted::Member {
                member_id,
                already_member: true,
            });
        }
        join_requests::require_not_ended(tx, scope, terms.invitation_id).await?;
        let is_issuer = match terms.issuer_id {
            Some(issuer) => join_requests::is_same_person(tx, scope, issuer, account).await?,
            None => false,
        };
        let is_addressed = recipient.is_some();
        // Nobody admits themselves, a link is not enough to come back after a removal by a decision,
        // and a member claims the record of a namesake only.
        if *open
            || is_issuer
            || join_requests::had_role(tx, scope, account, terms.role).await?
            || join_requests::claim_needs_decision(tx, scope, terms, account, is_addressed).await?
        {
            let requested = join_requests::create_request(tx, scope, caller, terms, account).await?;
            return Ok(Admitted::Requested(requested));
        }
        let member_id = join_requests::enter(tx, scope, terms, account).await?;
        let issuer = terms.issuer_id.map(|id| format!(" by members/{id}"));
        let org = terms.org_id;
        let object = format!(
            "organizations/{org}/members/{member_id}{}",
            issuer.unwrap_or_default()
        );
        parta_audit::record(tx, caller, Some(org), object).await?;
        Ok(Admitted::Member {
            member_id,
            already_member: false,
        })
    }

    async fn view(&self, _: Run<'_>, _: &OrgScope, outcome: &Admitted) -> Result<Admitted, Error> {
        match outcome {
            Admitted::Canceled => Err(Error::invitation_ended()),
            known => Ok(known.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let member_id = MemberId::from_uuid(Uuid::from_u128(1));
        let admitted = Admitted::Member {
            member_id,
            already_member: true,
        };
        let request_id = JoinRequestId::from_uuid(Uuid::from_u128(2));
        let forms = [
            (
                admitted,
                format!("\u{1}{{\"Member\":{{\"member_id\":\"{member_id}\",\"already_member\":true}}}}"),
            ),
            (
                Admitted::Requested(request_id),
                format!("\u{1}{{\"Asked\":\"{request_id}\"}}"),
            ),
            (Admitted::Canceled, "\u{1}\"Canceled\"".to_owned()),
        ];
        for (admitted, form) in forms {
            let stored = admitted.encode().unwrap();
            assert_eq!(stored, form.as_bytes());
            assert_eq!(Admitted::decode(&stored).unwrap(), admitted);
        }
    }
}
