//! The rows of members in the projection.
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

/// Saves the row of a member and returns the changes.
pub(crate) async fn put_member(tx: &Tx, org: OrgId, of: &MemberRow) -> Result<Vec<Change>, HandleError> {
    if !is_sent(of.state) {
        return Err(HandleError::Failed(
            "the event names no state of the member".into(),
        ));
    }
    let key = (org.uuid(), of.member_id.uuid());
    // A member who was not known here has nothing here that an earlier person received.
    let known = member::Entity::find_by_id(key).one(tx).await?;
    let is_released = known.is_some_and(|row| row.release_count < of.release_count);
    let row = member::ActiveModel {
        org_id: Set(key.0),
        member_id: Set(key.1),
        state: Set(of.state),
        roles: Set(of.roles),
        // A suspension follows the record of its member.
        suspended_roles: Set(0),
        teacher_verified: Set(of.teacher_verified),
        release_count: Set(of.release_count),
        removed_for_cause: Set(of.removed_for_cause),
        // An appointment follows the record of its member.
        acting_head: Set(false),
        seen: Set(true),
    };
    use member::Column as C;
    let known = OnConflict::columns([C::OrgId, C::MemberId])
        .update_columns([
            C::State,
            C::Roles,
            C::TeacherVerified,
            C::ReleaseCount,
            C::RemovedForCause,
            C::Seen,
        ])
        .to_owned();
    member::Entity::insert(row)
        .on_conflict(known)
        .exec_without_returning(tx)
        .await?;
    let mut changes = vec![Change::Member(of.member_id)];
    if is_released {
        changes.insert(0, Change::MemberReleased(of.member_id));
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
