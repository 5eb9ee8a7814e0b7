use parta_access::OrgScope;
use parta_database::{Db, Tx};
use parta_ids::OrgId;
use parta_roster::{Endings, State};
use parta_status::RpcError;

use crate::{
    assignments, departures, duties, enrollments,
    error::Error,
    guardianships,
    member_records::{LeaveReason, storage},
};

const ACTOR: &str = "restore";
const CAUSE: &str = "Ended before the database was restored.";

/// Ends what has ended in a service that had read more of the feed than the restored database has. A
/// member or relation that has ended here, or does not exist, stays as it is.
pub async fn repeat_endings(db: &Db, org: OrgId, endings: &Endings) -> Result<(), RpcError> {
    let scope = &OrgScope::for_consumer(ACTOR, org);
    let done = db
        .write(|tx| async move { end_all(&tx, scope, endings).await })
        .await;
    done.map_err(RpcError::from)
}

async fn end_all(tx: &Tx, scope: &OrgScope, endings: &Endings) -> Result<(), Error> {
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
    Ok(())
}
