//! Relations that go from an expected record to the record of the same person (F10).
use parta_access::OrgScope;
use parta_database::Tx;
use parta_ids::MemberId;
use parta_roster::{Role, State};

use super::{KIND, end_all_of, lock_people, obstacle};
use crate::{
    error::Error,
    guardianships::{
        events,
        model::{CHILDREN_WITHOUT_ORDER, Guardianship},
        storage::{self, Side},
    },
    member_records,
};

/// Whether the relations of an expected guardian may become those of a member: the two are not related with
/// each other, no limit and no order is about the expected guardian, and nothing keeps the member from one of
/// the children.
pub(crate) async fn may_hand_over(
    tx: &Tx,
    scope: &OrgScope,
    from: MemberId,
    to: MemberId,
) -> Result<bool, Error> {
    // Limits outlast their relation, so that those that have ended count too.
    for id in storage::all_of(tx, scope, from).await? {
        let row = storage::find(tx, scope, id).await?;
        let row = row.ok_or_else(|| Error::unknown(KIND, id))?;
        let pair = (row.guardian_id, row.child_id);
        let in_force = storage::limits::find(tx, scope, pair).await?;
        if row.ended_by_order || !in_force.limits().is_empty() || [pair.0, pair.1].contains(&to) {
            return Ok(false);
        }
        if !row.has_ended() && obstacle(tx, scope, to, row.child_id).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Moves the lasting relations of an expected guardian to the member with whose record the guardian's is
/// joined. One that the member has already stays as it is. A relation that would be confirmed for too many
/// children waits for a confirmation with an order.
pub(crate) async fn hand_over(tx: &Tx, scope: &OrgScope, from: MemberId, to: MemberId) -> Result<(), Error> {
    let ids = storage::lasting_of(tx, scope, (from, Side::Guardian)).await?;
    lock_people(tx, scope, &ids).await?;
    end_all_of(tx, scope, from, Side::Guardian).await?;
    for id in ids {
        let ended = storage::find(tx, scope, id).await?;
        let ended = ended.ok_or_else(|| Error::unknown(KIND, id))?;
        let child = member_records::storage::find(tx, scope, ended.child_id).await?;
        let is_pupil = child.is_some_and(|row| row.state != State::Left && row.has(Role::Pupil));
        // A decision may have ended the relation before its people were locked.
        if !is_pupil || ended.end_cause.is_some() || ended.ended_by_order {
            continue;
        }
        let children = storage::count_children(tx, scope, to).await?;
        let begun = Guardianship {
            id: tx.env().id(),
            guardian_id: to,
            confirmed: ended.confirmed && (ended.order.is_some() || children < CHILDREN_WITHOUT_ORDER),
            end_time: None,
            ..ended
        };
        if storage::insert(tx, scope, &begun).await? {
            events::established(tx, &begun).await?;
        }
    }
    Ok(())
}
