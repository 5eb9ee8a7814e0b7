use std::collections::{BTreeMap, BTreeSet};

use parta_access::{OrgScope, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Stored};
use parta_ids::{AccountId, JoinRequestId, MemberId, OrgId};
use parta_roster::{MemberContext, Role};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        events,
        model::{JoinRequest, RequestState, Terms, Verdict},
        policy, storage,
    },
    audit, enter, is_same_person, may_read, unknown,
};
use crate::{
    context::{Context, Run},
    error::Error,
    guardianships,
    notices::{self, Notice},
};

/// Decides requests, all or none.
#[derive(Debug)]
pub(crate) struct DecideJoinRequests {
    pub(crate) org_id: OrgId,
    /// At least one, each about another request.
    pub(crate) verdicts: Vec<(JoinRequestId, Verdict)>,
}

/// The proof that the caller may decide these requests, whose rows are locked.
pub(crate) struct MayDecide {
    scope: OrgScope,
    decider: MemberId,
    requests: BTreeMap<JoinRequestId, JoinRequest>,
}

/// The outcome of a decision, stored for repetitions.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Decided {
    join_request_ids: Vec<JoinRequestId>,
}

impl Stored for Decided {}

/// Nobody decides their own request, also not with another profile, nor one about their own child (F6).
async fn is_own_matter(
    tx: &Tx,
    scope: &OrgScope,
    facts: &MemberContext,
    request: &JoinRequest,
    verdict: Option<&Verdict>,
) -> Result<bool, Error> {
    if is_same_person(tx, scope, facts.member_id, request.account_id).await? {
        return Ok(true);
    }
    let matched = match verdict {
        Some(Verdict::Accept(matched)) => *matched,
        _ => None,
    };
    // Also the record that the person would get may be that of their own child, or of its other parent.
    let records = [request.terms.claim_member_id, matched];
    let mut people: Vec<MemberId> = records.into_iter().flatten().collect();
    for record in people.clone() {
        people.extend(guardianships::family(tx, scope, record).await?.children);
    }
    people.extend(request.terms.child_id);
    Ok(people.into_iter().any(|child| facts.is_guardian_of(child)))
}

/// Refuses a unit that is archived. Staff join units of every kind, others classes and groups.
async fn require_unit(context: &Context, tx: &Tx, terms: &Terms) -> Result<(), Error> {
    let Some(unit) = terms.unit_id else {
        return Ok(());
    };
    if !terms.role.is_staff() {
        return context.require_unit(tx, terms.org_id, unit).await;
    }
    let known = context.roster.unit(tx, terms.org_id, unit).await?;
    if known.is_some_and(|unit| !unit.archived) {
        Ok(())
    } else {
        Err(Error::unit_unknown(unit))
    }
}

/// Refuses a record that the person cannot be: only an expected member of the same role and unit fits, and
/// as a parent one of the same child.
async fn require_match(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    terms: &Terms,
    member: MemberId,
) -> Result<(), Error> {
    let facts = context.contexts_of(tx, terms.org_id, member).await?;
    let family = guardianships::family(tx, scope, member).await?;
    let fits = facts.is_some_and(|facts| {
        let in_place = match terms.role {
            Role::Pupil => terms.unit_id.is_none_or(|unit| facts.enrolled_in.contains(&unit)),
            Role::Parent => terms
                .child_id
                .is_none_or(|child| family.children.contains(&child)),
            _ => true,
        };
        facts.is_expected() && facts.roles.contains(&terms.role) && in_place
    });
    if fits {
        Ok(())
    } else {
        Err(Error::unknown("member", member))
    }
}

/// Returns the account and the role of a request that staff decided; `None` if they did not.
pub(crate) async fn decided(
    tx: &Tx,
    scope: &OrgScope,
    id: JoinRequestId,
) -> Result<Option<(AccountId, Role)>, Error> {
    let row = storage::find(tx, scope, &[id]).await?.pop();
    let by_staff = |row: &JoinRequest| matches!(row.state, RequestState::Accepted | RequestState::Refused);
    Ok(row.filter(by_staff).map(|row| (row.account_id, row.terms.role)))
}

impl Mutation for DecideJoinRequests {
    type Context = Context;
    type Grant = MayDecide;
    type Outcome = Decided;
    type View = Vec<JoinRequest>;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayDecide, Error> {
        let Run { tx, caller, .. } = run;
        let scope = may_read(run, self.org_id).await?.scope;
        let ids: BTreeSet<JoinRequestId> = self.verdicts.iter().map(|(id, _)| *id).collect();
        let rows = storage::lock(tx, &scope, &ids).await?;
        // The caller may have lost the right while the rows were locked.
        let reader = may_read(run, self.org_id).await?;
        let mut requests = BTreeMap::new();
        for row in rows {
            let decision = policy::decide(&reader.facts, row.terms.role, row.terms.unit_id, &reader.home);
            if decision.is_allowed() {
                let verdict = self.verdicts.iter().find(|(id, _)| *id == row.id);
                let verdict = verdict.map(|(_, verdict)| verdict);
                if is_own_matter(tx, &scope, &reader.facts, &row, verdict).await? {
                    return Err(Error::second_person_required());
                }
                requests.insert(row.id, row);
            } else if reader.facts.is_staff() {
                authorize(caller, self.org_id, decision)?;
            }
        }
        match ids.iter().find(|id| !requests.contains_key(id)) {
            Some(id) => Err(unknown(*id)),
            None => Ok(MayDecide {
                scope,
                decider: reader.facts.member_id,
                requests,
            }),
        }
    }

    async fn act(&self, run: Run<'_>, grant: &MayDecide) -> Result<Decided, Error> {
        let Run { context, tx, caller } = run;
        for (id, verdict) in &self.verdicts {
            let mut row = grant.requests.get(id).ok_or_else(|| unknown(*id))?.clone();
            if row.state != RequestState::Pending {
                return Err(Error::join_request_decided());
            }
            match verdict {
                Verdict::Accept(matched) => {
                    if let Some(member) = matched {
                        require_match(context, tx, &grant.scope, &row.terms, *member).await?;
                    }
                    require_unit(context, tx, &row.terms).await?;
                    let terms = Terms {
                        claim_member_id: matched.or(row.terms.claim_member_id),
                        ..row.terms.clone()
                    };
                    row.member_id = Some(enter(tx, &grant.scope, &terms, row.account_id).await?);
                    row.state = RequestState::Accepted;
                }
                Verdict::Refuse => row.state = RequestState::Refused,
            }
            row.decide_time = Some(tx.now());
            row.decider_id = Some(grant.decider);
            storage::update(tx, &grant.scope, &row).await?;
            events::decided(tx, &row).await?;
            let join_request_id = row.id;
            notices::deliver(tx, self.org_id, Notice::JoinRequestDecided { join_request_id }).await?;
            audit(tx, caller, self.org_id, row.id).await?;
        }
        Ok(Decided {
            join_request_ids: self.verdicts.iter().map(|(id, _)| *id).collect(),
        })
    }

    async fn view(
        &self,
        run: Run<'_>,
        grant: &MayDecide,
        outcome: &Decided,
    ) -> Result<Vec<JoinRequest>, Error> {
        let rows = storage::find(run.tx, &grant.scope, &outcome.join_request_ids).await?;
        let by_id: BTreeMap<_, _> = rows.into_iter().map(|row| (row.id, row)).collect();
        let ids = outcome.join_request_ids.iter();
        ids.map(|id| by_id.get(id).cloned().ok_or_else(|| unknown(*id)))
            .collect()
    }
}
