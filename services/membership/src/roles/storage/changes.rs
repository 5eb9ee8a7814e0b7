//! The tables `role_change` and `role_change_fact` and named queries over them.
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{DutyId, GuardianshipId, MemberId, OrgId, RoleChangeId, TypedId, Uuid};
use parta_roster::Role;
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::Expr,
};

use crate::roles::model::{EndedGrounds, RoleChange};
use entity::{Column, Entity, Model};

table!(entity, "role_change", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    role_change_id: Uuid,
    member_id: Uuid,
    lost_roles: i32,
    badge: bool,
    badge_decided: bool,
    revision: i64,
    author_id: Uuid,
    create_time: DateTimeUtc,
    close_time: Option<DateTimeUtc>,
    undoer_id: Option<Uuid>,
});

table!(fact, "role_change_fact", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    role_change_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    kind: i32,
    #[sea_orm(primary_key, auto_increment = false)]
    object_id: Uuid,
    create_time: DateTimeUtc,
});

/// The kinds of facts, as numbers that never change.
const ASSIGNMENT: i32 = 1;
const DUTY: i32 = 2;
const ENROLLMENT: i32 = 3;
const GUARDIANSHIP: i32 = 4;
const ACTING_HEAD: i32 = 5;

/// The facts of a change as pairs of a kind and an id.
fn pairs(ended: &EndedGrounds) -> Vec<(i32, Uuid)> {
    fn of<T: TypedId>(kind: i32, ids: &[T]) -> impl Iterator<Item = (i32, Uuid)> {
        ids.iter().map(move |id| (kind, id.uuid()))
    }
    of(ASSIGNMENT, &ended.assignments)
        .chain(of(DUTY, &ended.duties))
        .chain(of(ENROLLMENT, &ended.enrollments))
        .chain(of(GUARDIANSHIP, &ended.guardianships))
        .chain(of(ACTING_HEAD, &ended.acting_heads))
        .collect()
}

/// Adds a stored fact.
fn add(ended: &mut EndedGrounds, (kind, id): (i32, Uuid)) -> Result<(), StorageError> {
    match kind {
        ASSIGNMENT => ended.assignments.push(TypedId::from_uuid(id)),
        DUTY => ended.duties.push(TypedId::from_uuid(id)),
        ENROLLMENT => ended.enrollments.push(TypedId::from_uuid(id)),
        ACTING_HEAD => ended.acting_heads.push(TypedId::from_uuid(id)),
        GUARDIANSHIP => ended.guardianships.push(TypedId::from_uuid(id)),
        other => return Err(StorageError::unknown_value("role_change_fact.kind", other)),
    }
    Ok(())
}

/// Adds the facts to rows of one organization.
async fn changes(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    rows: Vec<Model>,
) -> Result<Vec<RoleChange>, StorageError> {
    let facts = fact::Entity::find()
        .filter(fact::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(fact::Column::RoleChangeId.is_in(rows.iter().map(|row| row.role_change_id)))
        .order_by_asc(fact::Column::ObjectId)
        .all(conn)
        .await?;
    let mut ended: BTreeMap<Uuid, EndedGrounds> = BTreeMap::new();
    for fact in facts {
        let of_change = ended.entry(fact.role_change_id).or_default();
        add(of_change, (fact.kind, fact.object_id))?;
    }
    let change = |row: Model| {
        let lost = Role::set_of(row.lost_roles);
        if Role::mask_of(lost.iter().copied()) != row.lost_roles {
            return Err(StorageError::unknown_value(
                "role_change.lost_roles",
                row.lost_roles,
            ));
        }
        Ok(RoleChange {
            org_id: OrgId::from_uuid(row.org_id),
            id: RoleChangeId::from_uuid(row.role_change_id),
            member_id: MemberId::from_uuid(row.member_id),
            lost,
            ended: EndedGrounds {
                badge: row.badge,
                ..ended.remove(&row.role_change_id).unwrap_or_default()
            },
            badge_decided: row.badge_decided,
            revision: row.revision,
            author_id: MemberId::from_uuid(row.author_id),
            create_time: row.create_time,
            close_time: row.close_time,
            undoer_id: row.undoer_id.map(MemberId::from_uuid),
        })
    };
    rows.into_iter().map(change).collect()
}

/// Inserts a change. Its organization is the scope's.
pub(in crate::roles) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    change: &RoleChange,
) -> Result<(), StorageError> {
    let (org_id, role_change_id) = (scope.org_id().uuid(), change.id.uuid());
    let row = Model {
        org_id,
        role_change_id,
        member_id: change.member_id.uuid(),
        lost_roles: Role::mask_of(change.lost.iter().copied()),
        badge: change.ended.badge,
        badge_decided: change.badge_decided,
        revision: change.revision,
        author_id: change.author_id.uuid(),
        create_time: change.create_time,
        close_time: change.close_time,
        undoer_id: change.undoer_id.map(TypedId::uuid),
    };
    Entity::insert(row.into_active_model())
        .exec_without_returning(conn)
        .await?;
    let facts: Vec<_> = pairs(&change.ended)
        .into_iter()
        .map(|(kind, object_id)| fact::ActiveModel {
            org_id: Set(org_id),
            role_change_id: Set(role_change_id),
            kind: Set(kind),
            object_id: Set(object_id),
            create_time: Set(change.create_time),
        })
        .collect();
    if !facts.is_empty() {
        fact::Entity::insert_many(facts)
            .exec_without_returning(conn)
            .await?;
    }
    Ok(())
}

/// Loads a change.
pub(in crate::roles) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RoleChangeId,
) -> Result<Option<RoleChange>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await?;
    let found = changes(conn, scope, row.into_iter().collect()).await?;
    Ok(found.into_iter().next())
}

/// Whether the member lost one of these roles by a change after this revision.
pub(in crate::roles) async fn lost_since(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    role: Role,
    revision: i64,
) -> Result<bool, StorageError> {
    let later: Vec<i32> = Entity::find()
        .select_only()
        .column(Column::LostRoles)
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::MemberId.eq(member.uuid()))
        .filter(Column::Revision.gt(revision))
        .into_tuple()
        .all(conn)
        .await?;
    Ok(later.into_iter().any(|lost| lost & role.bit() != 0))
}

/// Closes a change that was undone by this member.
pub(in crate::roles) async fn close(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RoleChangeId,
    undoer: MemberId,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    let row = entity::ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        role_change_id: Set(id.uuid()),
        close_time: Set(Some(now)),
        undoer_id: Set(Some(undoer.uuid())),
        ..Default::default()
    };
    row.update(conn).await?;
    Ok(())
}

fn open_of(scope: &OrgScope, member: MemberId) -> Condition {
    Condition::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add(Column::MemberId.eq(member.uuid()))
        .add(Column::CloseTime.is_null())
}

/// Closes all changes of a member, whose membership has ended.
pub(in crate::roles) async fn close_all_of(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    Entity::update_many()
        .col_expr(Column::CloseTime, Expr::value(now))
        .filter(open_of(scope, member))
        .exec(conn)
        .await?;
    Ok(())
}

/// Closes all changes of all organizations, and returns their number.
pub(in crate::roles) async fn close_all(
    conn: &impl ConnectionTrait,
    now: DateTime<Utc>,
) -> Result<u64, StorageError> {
    let closed = Entity::update_many()
        .col_expr(Column::CloseTime, Expr::value(now))
        .filter(Column::CloseTime.is_null())
        .exec(conn)
        .await?;
    Ok(closed.rows_affected)
}

/// Deletes these relations and duties from the facts of the changes of all members of an organization.
pub(in crate::roles) async fn forget_facts(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    relations: &[GuardianshipId],
    duties: &[DutyId],
) -> Result<(), StorageError> {
    let ended = EndedGrounds {
        guardianships: relations.to_vec(),
        duties: duties.to_vec(),
        ..Default::default()
    };
    for (kind, id) in pairs(&ended) {
        fact::Entity::delete_many()
            .filter(fact::Column::OrgId.eq(scope.org_id().uuid()))
            .filter(fact::Column::Kind.eq(kind))
            .filter(fact::Column::ObjectId.eq(id))
            .exec(conn)
            .await?;
    }
    Ok(())
}

/// Notes that the verification of a member was decided about.
pub(in crate::roles) async fn note_badge_decision(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
) -> Result<(), StorageError> {
    Entity::update_many()
        .col_expr(Column::BadgeDecided, Expr::value(true))
        .filter(open_of(scope, member))
        .exec(conn)
        .await?;
    Ok(())
}

/// Lists changes, newest first, before a key.
pub(in crate::roles) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: Option<MemberId>,
    before: Option<RoleChangeId>,
    limit: u64,
) -> Result<Vec<RoleChange>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(
            Condition::all()
                .add_option(member.map(|id| Column::MemberId.eq(id.uuid())))
                .add_option(before.map(|id| Column::RoleChangeId.lt(id.uuid()))),
        )
        .order_by_desc(Column::RoleChangeId)
        .limit(limit)
        .all(conn)
        .await?;
    changes(conn, scope, rows).await
}

/// Deletes the facts of changes made until `facts_until`, and the changes made until `changes_until`, in all
/// organizations.
pub(in crate::roles) async fn delete_old(
    conn: &impl ConnectionTrait,
    facts_until: DateTime<Utc>,
    changes_until: DateTime<Utc>,
) -> Result<(), StorageError> {
    fact::Entity::delete_many()
        .filter(fact::Column::CreateTime.lte(facts_until))
        .exec(conn)
        .await?;
    Entity::delete_many()
        .filter(Column::CreateTime.lte(changes_until))
        .exec(conn)
        .await?;
    Ok(())
}
