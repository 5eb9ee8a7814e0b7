use std::collections::BTreeSet;

use parta_access::{Caller, OrgScope, authorize, belongs};
use parta_database::Tx;
use parta_edge::{Mutation, Page, PageRequest, Query, Read, Stored};
use parta_ids::{GuardianshipId, MemberId, OrgId};
use parta_roster::{Role, State};
use serde::{Deserialize, Serialize};

use super::{
    events,
    model::Guardianship,
    policy,
    storage::{self, Side},
};
use crate::{context::Context, error::Error, member_records};

const KIND: &str = "guardianship";

/// The proof that the caller may decide about this relation, whose row is locked.
pub(crate) struct MayDecide {
    scope: OrgScope,
    row: Guardianship,
}

/// Locks a relation and decides whether the caller may decide about it. A caller who may not see it gets
/// NOT_FOUND. An ended relation is found too.
async fn may_decide(
    context: &Context,
    tx: &Tx,
    caller: &Caller,
    org: OrgId,
    id: GuardianshipId,
) -> Result<MayDecide, Error> {
    let facts = context.facts(tx, caller, org).await?;
    // Which relation the member may touch is decided below, when the row is known.
    let scope = belongs(caller, org)?;
    let unknown = || Error::unknown(KIND, id);
    let row = storage::lock(tx, &scope, id).await?.ok_or_else(unknown)?;
    let child = context
        .contexts_of(tx, org, row.child_id)
        .await?
        .ok_or_else(unknown)?;
    if !policy::see(&facts, row.guardian_id, &child) {
        return Err(unknown());
    }
    let decision = policy::decide_about(&facts, row.guardian_id, &child);
    Ok(MayDecide {
        scope: authorize(caller, org, decision)?,
        row,
    })
}

/// The outcome of ConfirmGuardianship.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Decided {
    guardianship_id: GuardianshipId,
}

impl Stored for Decided {}

/// Confirms a relation, which takes effect with it. Confirming a confirmed one changes nothing.
#[derive(Debug)]
pub(crate) struct ConfirmGuardianship {
    pub(crate) org_id: OrgId,
    pub(crate) guardianship_id: GuardianshipId,
}

impl Mutation for ConfirmGuardianship {
    type Context = Context;
    type Grant = MayDecide;
    type Outcome = Decided;
    type View = Guardianship;
    type Error = Error;

    async fn authorize(&self, context: &Context, tx: &Tx, caller: &Caller) -> Result<MayDecide, Error> {
        may_decide(context, tx, caller, self.org_id, self.guardianship_id).await
    }

    async fn act(&self, _: &Context, tx: &Tx, caller: &Caller, grant: &MayDecide) -> Result<Decided, Error> {
        let MayDecide { scope, row } = grant;
        if row.has_ended() {
            return Err(Error::unknown(KIND, row.id));
        }
        if !row.confirmed {
            let row = Guardianship {
                confirmed: true,
                ..row.clone()
            };
            storage::update(tx, scope, &row).await?;
            events::confirmed(tx, &row).await?;
            audit(tx, caller, &row).await?;
        }
        Ok(Decided {
            guardianship_id: row.id,
        })
    }

    async fn view(
        &self,
        _: &Context,
        tx: &Tx,
        grant: &MayDecide,
        outcome: &Decided,
    ) -> Result<Guardianship, Error> {
        let id = outcome.guardianship_id;
        let row = storage::find(tx, &grant.scope, id).await?;
        row.ok_or_else(|| Error::unknown(KIND, id))
    }
}

/// Ends a relation.
#[derive(Debug)]
pub(crate) struct EndGuardianship {
    pub(crate) org_id: OrgId,
    pub(crate) guardianship_id: GuardianshipId,
    pub(crate) cause: String,
}

impl Mutation for EndGuardianship {
    type Context = Context;
    type Grant = MayDecide;
    type Outcome = ();
    type View = ();
    type Error = Error;

    async fn authorize(&self, context: &Context, tx: &Tx, caller: &Caller) -> Result<MayDecide, Error> {
        may_decide(context, tx, caller, self.org_id, self.guardianship_id).await
    }

    async fn act(&self, _: &Context, tx: &Tx, caller: &Caller, grant: &MayDecide) -> Result<(), Error> {
        let MayDecide { scope, row } = grant;
        if row.has_ended() {
            return Err(Error::unknown(KIND, row.id));
        }
        let row = Guardianship {
            end_time: Some(tx.now()),
            end_cause: Some(self.cause.clone()),
            ..row.clone()
        };
        storage::update(tx, scope, &row).await?;
        events::ended(tx, row.org_id, row.id).await?;
        audit(tx, caller, &row).await
    }

    async fn view(&self, _: &Context, _: &Tx, _: &MayDecide, (): &()) -> Result<(), Error> {
        Ok(())
    }
}

/// Lists the relations that the caller may see and that have not ended.
#[derive(Debug)]
pub(crate) struct ListGuardianships {
    pub(crate) org_id: OrgId,
    /// Only those of this child.
    pub(crate) child_id: Option<MemberId>,
    /// Only those that wait for a decision.
    pub(crate) pending_only: bool,
    pub(crate) page: PageRequest,
}

impl Query for ListGuardianships {
    type Context = Context;
    type View = Page<Guardianship>;
    type Error = Error;

    async fn run(
        &self,
        context: &Context,
        tx: &Tx,
        caller: &Caller,
    ) -> Result<Read<Page<Guardianship>>, Error> {
        let org = self.org_id;
        let facts = context.facts(tx, caller, org).await?;
        let scope = authorize(caller, org, policy::read(&facts))?;
        let visible = if facts.is_administration() {
            storage::Visible::All
        } else {
            let mut children = BTreeSet::new();
            for unit in facts.class_teacher_of.iter().filter(|_| facts.is_cleared()) {
                children.extend(context.roster.members_of_unit(tx, org, *unit).await?);
            }
            storage::Visible::Of(facts.member_id, children)
        };
        let after = self.page.after(tx, caller)?;
        let limit = self.page.limit();
        let rows = storage::list(
            tx,
            &scope,
            &visible,
            self.child_id,
            self.pending_only,
            after,
            limit,
        )
        .await?;
        let page = self.page.page(tx, caller, rows, |row| row.id);
        Ok(if facts.is_staff() {
            Read::audited(page, org, "guardianships")
        } else {
            Read::plain(page)
        })
    }
}

async fn audit(tx: &Tx, caller: &Caller, row: &Guardianship) -> Result<(), Error> {
    let object = format!("organizations/{}/guardianships/{}", row.org_id, row.id);
    Ok(parta_audit::record(tx, caller, Some(row.org_id), object).await?)
}

/// Relates a guardian to a child, without effect until it is confirmed (R27). Does nothing if they are
/// related. The child must be a pupil who has not left.
pub(crate) async fn establish(
    tx: &Tx,
    scope: &OrgScope,
    guardian: MemberId,
    child: MemberId,
) -> Result<(), Error> {
    let row = member_records::storage::lock(tx, scope, child).await?;
    let is_pupil = row.is_some_and(|row| row.state != State::Left && row.has(Role::Pupil));
    if !is_pupil || guardian == child {
        return Err(Error::child_unknown());
    }
    let row = Guardianship {
        org_id: scope.org_id(),
        id: tx.env().id(),
        guardian_id: guardian,
        child_id: child,
        confirmed: false,
        create_time: tx.now(),
        end_time: None,
        end_cause: None,
    };
    if storage::insert(tx, scope, &row).await? {
        events::established(tx, &row).await?;
    }
    Ok(())
}

/// Ends every relation of a member on one side, because the member leaves or loses the role for it.
pub(crate) async fn end_all_of(tx: &Tx, scope: &OrgScope, member: MemberId, side: Side) -> Result<(), Error> {
    for id in storage::end_all_of(tx, scope, member, side, tx.now()).await? {
        events::ended(tx, scope.org_id(), id).await?;
    }
    Ok(())
}
