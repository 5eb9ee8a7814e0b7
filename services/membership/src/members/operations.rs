use std::collections::{BTreeMap, BTreeSet};

use parta_access::{OrgScope, Principal, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Page, PageRequest, Query, Read, Stored};
use parta_ids::{MemberId, OrgId, UnitId};
use parta_roster::{Role, State};
use serde::{Deserialize, Serialize};

use super::policy;
use crate::{
    context::{Context, Run},
    enrollments,
    error::Error,
    member_records::{
        self, Member, MemberView, events,
        storage::{self, Filter},
    },
    roles, suspensions,
};

const COLLECTION: &str = "members";

async fn views(tx: &Tx, scope: &OrgScope, members: Vec<Member>) -> Result<Vec<MemberView>, Error> {
    let ids: Vec<_> = members.iter().map(|member| member.id).collect();
    let mut units = enrollments::units_of(tx, scope, &ids).await?;
    let absent = suspensions::absent(tx, scope, &members).await?;
    let namesakes = member_records::namesakes_of_staff(tx, scope, &members).await?;
    let view = |member: Member| MemberView {
        namesake_of_staff: namesakes.contains(&member.id),
        absent: absent.contains(&member.id),
        units: units.remove(&member.id).unwrap_or_default(),
        member,
    };
    Ok(members.into_iter().map(view).collect())
}

/// A read of profiles, audited where staff or an external system reads (R60).
async fn read<V>(run: Run<'_>, org: OrgId, view: V) -> Result<Read<V>, Error> {
    let Run { context, tx, caller } = run;
    let audited = match caller.person() {
        Some((_, member)) => context
            .contexts_of(tx, org, member)
            .await?
            .is_some_and(|facts| facts.is_staff()),
        None => matches!(caller.acting(), Principal::ServiceAccount { .. }),
    };
    Ok(if audited {
        Read::audited(view, org, COLLECTION)
    } else {
        Read::plain(view)
    })
}

/// Returns the members of these ids whom the caller may see, in the order of the request. Those who
/// have left are found too.
#[derive(Debug)]
pub(crate) struct GetMembers {
    pub(crate) org_id: OrgId,
    pub(crate) member_ids: Vec<MemberId>,
}

impl Query for GetMembers {
    type Context = Context;
    type View = Vec<MemberView>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Vec<MemberView>>, Error> {
        let (scope, visible) = member_records::visible_members(run, self.org_id).await?;
        let mut among: BTreeSet<MemberId> = self.member_ids.iter().copied().collect();
        if let Some(visible) = visible {
            among.retain(|id| visible.contains(id));
        }
        let filter = Filter {
            among: Some(among),
            include_left: true,
            ..Filter::default()
        };
        let rows = storage::list(run.tx, &scope, &filter, None, self.member_ids.len() as u64).await?;
        let views = views(run.tx, &scope, rows).await?;
        let mut found: BTreeMap<_, _> = views.into_iter().map(|view| (view.member.id, view)).collect();
        let ordered = self.member_ids.iter().filter_map(|id| found.remove(id)).collect();
        read(run, self.org_id, ordered).await
    }
}

/// Lists the members whom the caller may see.
#[derive(Debug)]
pub(crate) struct ListMembers {
    pub(crate) org_id: OrgId,
    /// Only those whom this unit concerns.
    pub(crate) unit_id: Option<UnitId>,
    /// Only those with this role.
    pub(crate) role: Option<Role>,
    pub(crate) include_left: bool,
    pub(crate) page: PageRequest,
}

impl Query for ListMembers {
    type Context = Context;
    type View = Page<MemberView>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<MemberView>>, Error> {
        let Run { context, tx, caller } = run;
        let org = self.org_id;
        let (scope, visible) = member_records::visible_members(run, org).await?;
        let mut among = visible;
        if let Some(unit) = self.unit_id {
            let people = context.roster.members_of_unit(tx, org, unit).await?;
            let people: BTreeSet<_> = people.into_iter().collect();
            among = Some(match among {
                Some(visible) => visible.intersection(&people).copied().collect(),
                None => people,
            });
        }
        let filter = Filter {
            among,
            role: self.role,
            include_left: self.include_left,
        };
        let after = self.page.after(tx, caller)?;
        let rows = storage::list(tx, &scope, &filter, after, self.page.limit()).await?;
        let Page {
            items,
            next_page_token,
        } = self.page.page(tx, caller, rows, |member| member.id);
        let page = Page {
            items: views(tx, &scope, items).await?,
            next_page_token,
        };
        read(run, org, page).await
    }
}

/// The outcome of CreateMember.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Created {
    member_id: MemberId,
}

impl Stored for Created {}

/// Creates the record of an expected member.
#[derive(Debug)]
pub(crate) struct CreateMember {
    pub(crate) org_id: OrgId,
    pub(crate) full_name: String,
    pub(crate) role: Role,
    /// The unit in which a pupil is enrolled.
    pub(crate) unit_id: Option<UnitId>,
}

impl Mutation for CreateMember {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = Created;
    type View = MemberView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.facts(tx, caller, self.org_id).await?;
        let decision = policy::create_member(&facts, self.role, self.unit_id);
        Ok(authorize(caller, self.org_id, decision)?)
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<Created, Error> {
        let Run { context, tx, caller } = run;
        let org = self.org_id;
        let member = Member::new(
            org,
            tx.env().id(),
            &self.full_name,
            State::Expected,
            self.role,
            tx.now(),
        );
        storage::insert(tx, scope, &member).await?;
        events::admitted(tx, &member).await?;
        if let Some(unit) = self.unit_id {
            context.require_unit(tx, org, unit).await?;
            enrollments::begin(tx, scope, member.id, unit).await?;
        }
        parta_audit::record_within(tx, caller, org, format!("members/{}", member.id)).await?;
        Ok(Created { member_id: member.id })
    }

    async fn view(&self, run: Run<'_>, scope: &OrgScope, outcome: &Created) -> Result<MemberView, Error> {
        roles::load(run.tx, scope, outcome.member_id).await
    }
}
