use parta_access::{OrgScope, lookup_scope, service_scope};
use parta_edge::{Mutation, Page, PageRequest, Query, Read, Stored};
use parta_ids::{AccountId, MemberId, OrgId};
use parta_roster::{Role, State};
use parta_status::not_found;
use serde::{Deserialize, Serialize};

use super::{
    model::{Appointment, NewAppointment},
    storage,
};
use crate::{
    accounts,
    context::{Context, Run},
    error::Error,
    member_records::{self, Member, MemberView, events, storage as members},
    roles, sessions,
};

/// Appoints the founding administrator of an organization. Only services call it.
#[derive(Debug)]
pub(crate) struct AppointFoundingAdministrator {
    pub(crate) org_id: OrgId,
    pub(crate) new: NewAppointment,
}

impl Mutation for AppointFoundingAdministrator {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = ();
    type View = ();
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        Ok(service_scope(run.caller, self.org_id)?)
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<(), Error> {
        let Run { tx, caller, .. } = run;
        storage::insert(tx, scope, &self.new, tx.now()).await?;
        let object = format!("organizations/{}/appointment", self.org_id);
        Ok(parta_audit::record(tx, caller, Some(self.org_id), object).await?)
    }

    async fn view(&self, _: Run<'_>, _: &OrgScope, (): &()) -> Result<(), Error> {
        Ok(())
    }
}

/// Lists the appointments that wait for a phone which the caller has proved.
#[derive(Debug)]
pub(crate) struct ListAppointments {
    pub(crate) page: PageRequest,
}

impl Query for ListAppointments {
    type Context = Context;
    type View = Page<Appointment>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<Appointment>>, Error> {
        let Run { tx, caller, .. } = run;
        let (account, _) = sessions::signed_in(tx, caller).await?;
        let phones = accounts::phones(tx, account).await?;
        let after = self.page.after(tx, caller)?;
        let rows = storage::list_open(tx, &phones, after, self.page.limit()).await?;
        Ok(Read::plain(self.page.page(tx, caller, rows, |row| row.org_id)))
    }
}

/// Makes the caller administrator of the organization.
#[derive(Debug)]
pub(crate) struct ClaimAppointment {
    pub(crate) org_id: OrgId,
}

/// The outcome of ClaimAppointment.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claimed {
    member_id: MemberId,
}

impl Stored for Claimed {}

/// The proof that the caller may claim the appointment.
pub(crate) struct MayClaim {
    scope: OrgScope,
    account_id: AccountId,
    /// The name of the appointed person; `None` for a repetition.
    full_name: Option<String>,
}

impl Mutation for ClaimAppointment {
    type Context = Context;
    type Grant = MayClaim;
    type Outcome = Claimed;
    type View = MemberView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayClaim, Error> {
        let Run { tx, caller, .. } = run;
        let (account_id, _) = sessions::signed_in(tx, caller).await?;
        let scope = lookup_scope(caller, self.org_id)?;
        let phones = accounts::phones(tx, account_id).await?;
        let appointment = storage::find_open(tx, &scope, &phones).await?;
        let appointment = appointment.ok_or_else(|| not_found("appointment", self.org_id))?;
        Ok(MayClaim {
            scope,
            account_id,
            full_name: Some(appointment.full_name),
        })
    }

    async fn act(&self, run: Run<'_>, grant: &MayClaim) -> Result<Claimed, Error> {
        let Run { tx, caller, .. } = run;
        let org = self.org_id;
        let unknown = || not_found("appointment", org);
        let MayClaim {
            scope,
            account_id,
            full_name,
        } = grant;
        let full_name = full_name.as_ref().ok_or_else(unknown)?;
        if !storage::claim(tx, scope, *account_id, tx.now()).await? {
            return Err(unknown().into());
        }
        let member_id = match members::lock_by_account(tx, scope, *account_id).await? {
            Some(mut member) => {
                member_records::join_again(tx, scope, &mut member, Role::Administrator, None).await?;
                member.id
            }
            None => {
                let (id, now) = (tx.env().id(), tx.now());
                let mut member = Member::new(org, id, full_name, State::Active, Role::Administrator, now);
                member.account_id = Some(*account_id);
                // If a link makes the same person a member meanwhile, the second run finds the member.
                members::insert(tx, scope, &member).await?;
                events::admitted(tx, &member).await?;
                id
            }
        };
        parta_audit::record_within(tx, caller, org, format!("members/{member_id}")).await?;
        Ok(Claimed { member_id })
    }

    async fn view(&self, run: Run<'_>, grant: &MayClaim, outcome: &Claimed) -> Result<MemberView, Error> {
        roles::load(run.tx, &grant.scope, outcome.member_id).await
    }

    /// The act used the appointment up. The account that claimed it gets the result while it is an
    /// active member: an account that has left is outside.
    async fn regrant(&self, run: Run<'_>, outcome: &Claimed) -> Result<MayClaim, Error> {
        let Run { tx, caller, .. } = run;
        let (account_id, _) = sessions::signed_in(tx, caller).await?;
        let scope = lookup_scope(caller, self.org_id)?;
        member_records::find_by_account(tx, &scope, account_id)
            .await?
            .filter(|member| member.id == outcome.member_id && member.state == State::Active)
            .ok_or_else(|| not_found("organization", self.org_id))?;
        Ok(MayClaim {
            scope,
            account_id,
            full_name: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let claimed = Claimed {
            member_id: MemberId::from_uuid(Uuid::from_u128(1)),
        };
        let form = format!("\u{1}{{\"member_id\":\"{}\"}}", claimed.member_id);
        let stored = claimed.encode().unwrap();
        assert_eq!(stored, form.as_bytes());
        assert_eq!(Claimed::decode(&stored).unwrap(), claimed);
    }
}
