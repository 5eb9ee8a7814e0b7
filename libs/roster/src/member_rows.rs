//! The rows of members in the projection.
use std::collections::BTreeMap;

use parta_database::Tx;
use parta_feed::HandleError;
use parta_ids::{MemberId, OrgId, TypedId as _};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, sea_query::OnConflict,
};

use crate::{Change, entities::member, unit_kind::is_sent};

/// A member as an event describes it.
pub(crate) struct MemberRow {
    pub(crate) member_id: MemberId,
    pub(crate) state: i32,
    pub(crate) roles: i32,
    pub(crate) teacher_verified: bool,
    pub(crate) release_count: i32,
    pub(crate) removed_for_cause: bool,
}

/// Saves the rows of different members and returns the changes.
pub(crate) async fn put_members(tx: &Tx, org: OrgId, rows: &[MemberRow]) -> Result<Vec<Change>, HandleError> {
    if rows.iter().any(|row| !is_sent(row.state)) {
        return Err(HandleError::Failed(
            "the event names no state of the member".into(),
        ));
    }
    let known = member::Entity::find()
        .filter(member::Column::OrgId.eq(org.uuid()))
        .filter(member::Column::MemberId.is_in(rows.iter().map(|row| row.member_id.uuid())))
        .all(tx)
        .await?;
    let known: BTreeMap<_, _> = known
        .into_iter()
        .map(|row| (row.member_id, row.release_count))
        .collect();
    let models = rows.iter().map(|row| member::ActiveModel {
        org_id: Set(org.uuid()),
        member_id: Set(row.member_id.uuid()),
        state: Set(row.state),
        roles: Set(row.roles),
        // A suspension follows the record of its member.
        suspended_roles: Set(0),
        teacher_verified: Set(row.teacher_verified),
        release_count: Set(row.release_count),
        removed_for_cause: Set(row.removed_for_cause),
        // An appointment follows the record of its member.
        acting_head: Set(false),
        seen: Set(true),
    });
    use member::Column as C;
    let update = OnConflict::columns([C::OrgId, C::MemberId])
        .update_columns([
            C::State,
            C::Roles,
            C::TeacherVerified,
            C::ReleaseCount,
            C::RemovedForCause,
            C::Seen,
        ])
        .to_owned();
    member::Entity::insert_many(models)
        .on_conflict(update)
        .exec_without_returning(tx)
        .await?;
    let mut changes = Vec::with_capacity(rows.len());
    for row in rows {
        // A member who was not known here has nothing here that an earlier person received.
        let before = known.get(&row.member_id.uuid());
        if before.is_some_and(|count| *count < row.release_count) {
            changes.push(Change::MemberReleased(row.member_id));
        }
        changes.push(Change::Member(row.member_id));
    }
    Ok(changes)
}

/// Saves whether a member acts as the head.
pub(crate) async fn put_acting_head(
    tx: &Tx,
    org: OrgId,
    member: MemberId,
    acts: bool,
) -> Result<Change, HandleError> {
    member::Entity::update_many()
        .col_expr(member::Column::ActingHead, acts.into())
        .filter(member::Column::OrgId.eq(org.uuid()))
        .filter(member::Column::MemberId.eq(member.uuid()))
        .exec(tx)
        .await?;
    Ok(Change::Member(member))
}
