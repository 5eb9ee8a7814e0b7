//! The units that a teacher leads. A file of its own, because decisions about relations ask for it.
use std::collections::BTreeSet;

use parta_access::OrgScope;
use parta_database::Tx;
use parta_ids::{MemberId, UnitId};

use super::{
    model::AssignmentKind,
    storage::{self, Filter},
};
use crate::error::Error;

/// More assignments than one teacher has.
const LIMIT: u64 = 1_000;

/// Returns the units whose class teacher the member is, otherwise than as a substitute (reach.md 3).
pub(crate) async fn units_led(
    tx: &Tx,
    scope: &OrgScope,
    member: MemberId,
) -> Result<BTreeSet<UnitId>, Error> {
    let filter = Filter {
        units: None,
        member: Some(member),
        among: None,
        now: tx.now(),
    };
    let all = storage::list(tx, scope, &filter, None, LIMIT).await?;
    Ok(all
        .into_iter()
        .filter(|row| row.kind == AssignmentKind::ClassTeacher && !row.is_substitution())
        .map(|row| row.unit_id)
        .collect())
}
