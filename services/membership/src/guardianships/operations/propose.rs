use parta_access::{OrgScope, authorize, belongs};
use parta_database::Tx;
use parta_edge::Mutation;
use parta_ids::{MemberId, OrgId};
use parta_roster::{RelationKind, Role, State};

use super::{Decided, audit, decision_about, insert, insert_all, require_second_person, view};
use crate::{
    context::{Context, Run},
    error::Error,
    guardianships::{model::GuardianshipView, storage},
    member_records,
};

/// Relates two members of the organization, without effect until it is confirmed.
#[derive(Debug)]
pub(crate) struct ProposeGuardianship {
    pub(crate) org_id: OrgId,
    pub(crate) guardian_id: MemberId,
    pub(crate) child_id: MemberId,
    pub(crate) kind: RelationKind,
}

impl Mutation for ProposeGuardianship {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = Decided;
    type View = GuardianshipView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        let Run { context, tx, caller } = run;
        let org = self.org_id;
        let facts = context.facts(tx, caller, org).await?;
        let scope = belongs(caller, org)?;
        let unknown = || Error::unknown("member", self.child_id);
        let child = context.contexts_of(tx, org, self.child_id).await?;
        // Only staff learn whether there is such a child.
        let Some(child) = child.filter(|_| facts.is_staff()) else {
            return Err(unknown());
        };
        let decision = decision_about(context, tx, &scope, &facts, &child).await?;
        let scope = authorize(caller, org, decision)?;
        require_second_person(tx, &scope, facts.member_id, self.guardian_id, self.child_id).await?;
        Ok(scope)
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<Decided, Error> {
        let Run { tx, caller, .. } = run;
        let guardian = member_records::storage::lock(tx, scope, self.guardian_id).await?;
        let guardian = guardian.ok_or_else(|| Error::unknown("member", self.guardian_id))?;
        if guardian.state == State::Left || !guardian.has(Role::Parent) {
            return Err(Error::not_a_parent());
        }
        relate(tx, scope, self.guardian_id, self.child_id, self.kind).await?;
        // The records are locked now. Meanwhile the caller may have lost the right.
        self.authorize(run).await?;
        let pair = (self.guardian_id, self.child_id);
        let row = storage::find_between(tx, scope, pair).await?;
        let row = row.ok_or_else(|| Error::unknown("guardianship", self.guardian_id))?;
        audit(tx, caller, &row).await?;
        Ok(Decided {
            guardianship_id: row.id,
        })
    }

    async fn view(
        &self,
        run: Run<'_>,
        scope: &OrgScope,
        outcome: &Decided,
    ) -> Result<GuardianshipView, Error> {
        view(run.tx, scope, outcome.guardianship_id).await
    }
}

/// Relates a guardian to a child; returns `false` if they are related. The child must be a pupil who has not
/// left.
async fn relate(
    tx: &Tx,
    scope: &OrgScope,
    guardian: MemberId,
    child: MemberId,
    kind: RelationKind,
) -> Result<bool, Error> {
    let row = member_records::storage::lock(tx, scope, child).await?;
    let is_pupil = row.is_some_and(|row| row.state != State::Left && row.has(Role::Pupil));
    if !is_pupil || guardian == child {
        return Err(Error::child_unknown());
    }
    insert(tx, scope, guardian, child, kind).await
}

/// Relates a parent to a child by a link or an import, without effect until it is confirmed (R27). Does
/// nothing and returns `false` if they are related.
pub(crate) async fn establish(
    tx: &Tx,
    scope: &OrgScope,
    guardian: MemberId,
    child: MemberId,
) -> Result<bool, Error> {
    relate(tx, scope, guardian, child, RelationKind::Parent).await
}

/// Relates parents to pupils as [`establish`] does, as many as one statement takes. The records of all of
/// them are locked, and nobody of them has left. Returns `false` for each pair that is related.
pub(crate) async fn establish_all(
    tx: &Tx,
    scope: &OrgScope,
    pairs: &[(MemberId, MemberId)],
) -> Result<Vec<bool>, Error> {
    insert_all(tx, scope, pairs, RelationKind::Parent).await
}
