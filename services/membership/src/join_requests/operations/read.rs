use std::collections::{BTreeMap, BTreeSet};

use parta_database::Tx;
use parta_edge::{Page, PageRequest, Query, Read};
use parta_ids::{AccountId, JoinRequestId, MemberId, OrgId, UnitId};
use parta_roster::{MemberContext, Role};

use super::{
    super::{
        model::{JoinRequest, RequestState, Suggested, same_name},
        storage::{self, Filter},
    },
    MayRead, may_read,
};
use crate::{
    context::{Context, Run},
    error::Error,
    member_records::{self, name_key, storage as members},
};

/// Lists the requests about which the caller may decide.
#[derive(Debug)]
pub(crate) struct ListJoinRequests {
    pub(crate) org_id: OrgId,
    pub(crate) unit_id: Option<UnitId>,
    pub(crate) state: RequestState,
    pub(crate) page: PageRequest,
}

/// The expected members of a unit, with their names.
async fn expected(
    context: &Context,
    tx: &Tx,
    reader: &MayRead,
    unit: UnitId,
) -> Result<Vec<(MemberContext, String)>, Error> {
    let org = reader.scope.org_id();
    let ids = context.roster.members_of_unit(tx, org, unit).await?;
    let mut facts = context.roster.contexts_of(tx, org, &ids).await?;
    facts.retain(MemberContext::is_expected);
    let filter = members::Filter {
        among: Some(facts.iter().map(|facts| facts.member_id).collect()),
        ..Default::default()
    };
    let rows = members::list(tx, &reader.scope, &filter, None, facts.len() as u64).await?;
    let mut names: BTreeMap<MemberId, String> = rows.into_iter().map(|row| (row.id, row.full_name)).collect();
    let named = facts
        .into_iter()
        .filter_map(|facts| Some((names.remove(&facts.member_id)?, facts)));
    Ok(named.map(|(name, facts)| (facts, name)).collect())
}

/// The pupils of the unit without an account who have the name of the person.
fn suggestions(request: &JoinRequest, expected: &[(MemberContext, String)]) -> Vec<MemberId> {
    let fits = |(facts, name): &&(MemberContext, String)| {
        facts.roles.contains(&request.terms.role) && same_name(name, &request.full_name)
    };
    expected
        .iter()
        .filter(fits)
        .map(|(facts, _)| facts.member_id)
        .collect()
}

/// The requests of people who have the name of another person, who works in the organization. Such a name is
/// marked and never refused.
async fn namesakes(
    tx: &Tx,
    reader: &MayRead,
    rows: &[JoinRequest],
) -> Result<BTreeSet<JoinRequestId>, Error> {
    let names = rows.iter().map(|row| row.full_name.as_str());
    let staff = member_records::staff_named(tx, &reader.scope, names).await?;
    if staff.is_empty() {
        return Ok(BTreeSet::new());
    }
    let accounts: Vec<AccountId> = rows.iter().map(|row| row.account_id).collect();
    let own = member_records::members_of_accounts(tx, &accounts).await?;
    let is_namesake = |row: &&JoinRequest| {
        let key = name_key(&row.full_name);
        let is_own = |member: &MemberId| {
            own.iter()
                .any(|(account, _, id)| *account == row.account_id && id == member)
        };
        staff.iter().any(|(member, name)| *name == key && !is_own(member))
    };
    Ok(rows.iter().filter(is_namesake).map(|row| row.id).collect())
}

impl Query for ListJoinRequests {
    type Context = Context;
    type View = Page<Suggested>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<Suggested>>, Error> {
        let Run { context, tx, caller } = run;
        let reader = may_read(run, self.org_id).await?;
        let among =
            (!reader.facts.is_administration()).then(|| (reader.home.clone(), [Role::Pupil, Role::Parent]));
        let filter = Filter {
            state: self.state,
            among,
            unit_id: self.unit_id,
        };
        let after: Option<JoinRequestId> = self.page.after(tx, caller)?;
        let rows = storage::list(tx, &reader.scope, &filter, after, self.page.limit()).await?;
        let rows = self.page.page(tx, caller, rows, |row| row.id);
        let pending = rows.items.iter().filter(|row| row.state == RequestState::Pending);
        let units: BTreeSet<UnitId> = pending.filter_map(|row| row.terms.unit_id).collect();
        let mut expected_in = BTreeMap::new();
        for unit in units {
            expected_in.insert(unit, expected(context, tx, &reader, unit).await?);
        }
        let namesakes = namesakes(tx, &reader, &rows.items).await?;
        let suggested = |request: JoinRequest| {
            let unit = request.terms.unit_id.and_then(|unit| expected_in.get(&unit));
            let member_ids = unit.map(|expected| suggestions(&request, expected));
            Suggested {
                namesake_of_staff: namesakes.contains(&request.id),
                request,
                member_ids: member_ids.unwrap_or_default(),
            }
        };
        Ok(Read::audited(rows.map(suggested), self.org_id, "joinRequests"))
    }
}
