use std::collections::BTreeSet;

use parta_access::OrgScope;
use parta_database::{Db, Tx};
use parta_ids::{MemberId, OrgId};
use parta_roster::{Endings, State};
use parta_status::RpcError;

use crate::{
    assignments, departures, duties, enrollments,
    error::Error,
    guardianships,
    member_records::{LeaveReason, storage},
    roles, suspensions,
};

const ACTOR: &str = "restore";
const CAUSE: &str = "Ended before the database was restored.";
const SUSPENDED: &str = "Suspended before the database was restored.";

/// Ends what has ended in a service that had read more of the feed than the restored database has, and begins
/// its suspensions. A fact that has ended here, or does not exist, stays as it is. Returns the administrators
/// who keep the role although they had lost it, because the organization has no other one.
pub async fn repeat_endings(db: &Db, org: OrgId, endings: &Endings) -> Result<BTreeSet<MemberId>, RpcError> {
    let scope = &OrgScope::for_consumer(ACTOR, org);
    let done = db
        .write(|tx| async move { end_all(&tx, scope, endings).await })
        .await;
    done.map_err(RpcError::from)
}

async fn end_all(tx: &Tx, scope: &OrgScope, endings: &Endings) -> Result<BTreeSet<MemberId>, Error> {
    for id in &endings.members {
        let member = storage::lock(tx, scope, *id).await?;
        if let Some(mut member) = member.filter(|member| member.state != State::Left) {
            member.leave_cause = Some(CAUSE.to_owned());
            // The lost part may have held a decision, which no import takes back.
            departures::end_membership(tx, scope, &mut member, LeaveReason::Decision).await?;
        }
    }
    for id in &endings.assignments {
        assignments::end_due(tx, scope, *id).await?;
    }
    for (member, unit) in &endings.enrollments {
        enrollments::end(tx, scope, *member, *unit).await?;
    }
    for id in &endings.guardianships {
        guardianships::end_again(tx, scope, *id, CAUSE).await?;
    }
    for id in &endings.duties {
        duties::end_again(tx, scope, *id, CAUSE).await?;
    }
    for id in &endings.badges {
        roles::withdraw_again(tx, scope, *id, CAUSE).await?;
    }
    let mut kept = BTreeSet::new();
    for (id, lost) in &endings.roles {
        if !roles::lose_again(tx, scope, *id, lost).await? {
            kept.insert(*id);
        }
    }
    for (id, (member, roles)) in &endings.suspensions {
        suspensions::begin_again(tx, scope, *id, *member, roles, SUSPENDED).await?;
    }
    Ok(kept)
}
