use std::collections::BTreeSet;

use parta_access::{OrgScope, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Page, PageRequest, Query, Read, Stored};
use parta_ids::{MemberId, OrgId};
use parta_mutations::check_etag;
use parta_roster::Role;
use parta_status::RpcError;
use serde::{Deserialize, Serialize};

use super::{FormerName, policy, storage};
use crate::{
    context::{Context, Run},
    error::Error,
    member_records::{self, Member, MemberView, storage::Filter},
    roles,
};

/// Replaces the name of a locked member and keeps the former one. The caller saves the member, which raises
/// the revision.
pub(crate) async fn keep(
    tx: &Tx,
    scope: &OrgScope,
    member: &mut Member,
    full_name: &str,
    corrector_id: Option<MemberId>,
) -> Result<(), Error> {
    let former = FormerName {
        revision: member.revision,
        full_name: std::mem::replace(&mut member.full_name, full_name.to_owned()),
        end_time: tx.now(),
        corrector_id,
    };
    storage::insert(tx, scope, member.id, &former).await?;
    Ok(())
}

/// Returns these members, also those who have left, for a service that shows them to the calling person.
#[derive(Debug)]
pub(crate) struct GetNames {
    pub(crate) org_id: OrgId,
    pub(crate) member_ids: BTreeSet<MemberId>,
}

impl Query for GetNames {
    type Context = Context;
    type View = Vec<Member>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Vec<Member>>, Error> {
        let Run { context, tx, caller } = run;
        let scope = context
            .authorize(tx, caller, self.org_id, policy::read)
            .await?
            .scope;
        let limit = self.member_ids.len() as u64;
        let filter = Filter {
            among: Some(self.member_ids.clone()),
            include_left: true,
            ..Filter::default()
        };
        let rows = member_records::storage::list(tx, &scope, &filter, None, limit).await?;
        Ok(Read::plain(rows))
    }
}

/// The outcome of CorrectMemberName.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Corrected {
    member_id: MemberId,
}

impl Stored for Corrected {}

#[derive(Debug)]
pub(crate) struct CorrectName {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    pub(crate) full_name: String,
    /// Whether no earlier name is kept.
    pub(crate) sealed: bool,
    /// The etag that the caller read; empty to change any revision.
    pub(crate) etag: String,
}

impl CorrectName {
    async fn decide(&self, run: Run<'_>) -> Result<(OrgScope, MemberId), RpcError> {
        let Run { context, tx, caller } = run;
        let facts = context.facts(tx, caller, self.org_id).await?;
        let member = context.contexts_of(tx, self.org_id, self.member_id).await?;
        let home = match member.filter(|member| member.roles.contains(&Role::Pupil)) {
            Some(pupil) => {
                context
                    .roster
                    .home_units(tx, self.org_id, &pupil.enrolled_in)
                    .await?
            }
            None => BTreeSet::new(),
        };
        let mut decision = policy::correct(&facts, &home);
        if self.sealed && decision.is_allowed() {
            decision = policy::seal(&facts);
        }
        let scope = authorize(caller, self.org_id, decision)?;
        Ok((scope, facts.member_id))
    }
}

impl Mutation for CorrectName {
    type Context = Context;
    type Grant = (OrgScope, MemberId);
    type Outcome = Corrected;
    type View = MemberView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<(OrgScope, MemberId), Error> {
        Ok(self.decide(run).await?)
    }

    async fn act(&self, run: Run<'_>, (scope, own): &(OrgScope, MemberId)) -> Result<Corrected, Error> {
        let Run { tx, caller, .. } = run;
        if *own == self.member_id {
            return Err(Error::second_person_required());
        }
        // Both rows, in the order of their ids, so that the caller does not lose the right meanwhile.
        let mut rows = member_records::storage::lock_all(tx, scope, [*own, self.member_id]).await?;
        let member = rows.get_mut(&self.member_id);
        let member = member.ok_or_else(|| Error::unknown("member", self.member_id))?;
        self.decide(run).await?;
        check_etag(&self.etag, member.revision)?;
        if member.full_name != self.full_name {
            keep(tx, scope, member, &self.full_name, Some(*own)).await?;
            member_records::storage::update(tx, scope, member).await?;
        }
        if self.sealed {
            storage::delete_all(tx, scope, member.id).await?;
        }
        parta_audit::record_within(tx, caller, self.org_id, format!("members/{}", self.member_id)).await?;
        Ok(Corrected {
            member_id: self.member_id,
        })
    }

    async fn view(
        &self,
        run: Run<'_>,
        (scope, _): &(OrgScope, MemberId),
        outcome: &Corrected,
    ) -> Result<MemberView, Error> {
        roles::load(run.tx, scope, outcome.member_id).await
    }
}

#[derive(Debug)]
pub(crate) struct ListFormerNames {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    pub(crate) page: PageRequest,
}

impl Query for ListFormerNames {
    type Context = Context;
    type View = Page<FormerName>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<FormerName>>, Error> {
        let Run { context, tx, caller } = run;
        let scope = context
            .authorize(tx, caller, self.org_id, policy::list)
            .await?
            .scope;
        let member = member_records::storage::find(tx, &scope, self.member_id).await?;
        if member.is_none() {
            return Err(Error::unknown("member", self.member_id));
        }
        let after = self.page.after(tx, caller)?;
        let rows = storage::list(tx, &scope, self.member_id, after, self.page.limit()).await?;
        let page = self.page.page(tx, caller, rows, |row| row.revision);
        Ok(Read::audited(page, self.org_id, "former-names"))
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let corrected = Corrected {
            member_id: MemberId::from_uuid(Uuid::from_u128(1)),
        };
        let form = format!("\u{1}{{\"member_id\":\"{}\"}}", corrected.member_id);
        let stored = corrected.encode().unwrap();
        assert_eq!(stored, form.as_bytes());
        assert_eq!(Corrected::decode(&stored).unwrap(), corrected);
    }
}
