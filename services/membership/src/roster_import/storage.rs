//! Named queries over roster imports and what they brought.
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_ids::{MemberId, RosterImportId, TypedId as _};
use parta_proto::parta::membership::v1::RosterImportState;
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait, DbErr,
    EntityTrait as _, IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::OnConflict,
};

use crate::{
    roster_import::{Problem, plan::Change},
    storage::table,
};
pub(crate) use roster_import::Model as Import;
pub(crate) use roster_import_change::Model as ChangeRow;
pub(crate) use roster_import_problem::Model as ProblemRow;

table!(roster_import, "roster_import", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    import_id: Uuid,
    state: i32,
    one_roster_version: String,
    /// `RosterImportCounts` as protobuf.
    planned: Vec<u8>,
    done: Vec<u8>,
    change_count: i64,
    problem_count: i32,
    mass_removal: bool,
    /// Labels by the source's class ids, as JSON.
    classes: String,
    /// Rows of the difference that are carried out.
    position: i64,
    create_time: DateTimeUtc,
    start_time: Option<DateTimeUtc>,
    finish_time: Option<DateTimeUtc>,
    revision: i64,
});
table!(roster_import_change, "roster_import_change", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    import_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    seq: i64,
    kind: i16,
    source_key: String,
    other_key: String,
    person: String,
    unit_label: String,
    before: String,
    after: String,
    value: i32,
});
table!(roster_import_problem, "roster_import_problem", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    import_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    seq: i64,
    file: String,
    line: i64,
    column_name: String,
    description: String,
    fatal: bool,
});
table!(roster_person, "roster_person", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    source_key: String,
    member_id: Uuid,
});
table!(roster_class, "roster_class", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    source_key: String,
    label: String,
});

/// Rows of one statement: binds stay below the limit of either database.
const ROWS: usize = 500;

/// Stores a checked set with its difference and its problems.
pub(crate) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    import: &Import,
    changes: &[Change],
    problems: &[Problem],
) -> Result<(), DbErr> {
    roster_import::Entity::insert(import.clone().into_active_model())
        .exec_without_returning(conn)
        .await?;
    let (org_id, import_id) = (scope.org_id().uuid(), import.import_id);
    for (chunk, rows) in changes.chunks(ROWS).enumerate() {
        let first = chunk * ROWS;
        let rows = rows.iter().zip(first..).map(|(change, at)| {
            ChangeRow {
                org_id,
                import_id,
                seq: i64::try_from(at + 1).unwrap_or(i64::MAX),
                kind: change.kind,
                source_key: change.source_key.clone(),
                other_key: change.other_key.clone(),
                person: change.person.clone(),
                unit_label: change.unit_label.clone(),
                before: change.before.clone(),
                after: change.after.clone(),
                value: change.value,
            }
            .into_active_model()
        });
        roster_import_change::Entity::insert_many(rows)
            .exec_without_returning(conn)
            .await?;
    }
    for (chunk, rows) in problems.chunks(ROWS).enumerate() {
        let first = chunk * ROWS;
        let rows = rows.iter().zip(first..).map(|(problem, at)| {
            ProblemRow {
                org_id,
                import_id,
                seq: i64::try_from(at + 1).unwrap_or(i64::MAX),
                file: problem.file.clone(),
                line: problem.line.into(),
                column_name: problem.column.clone(),
                description: problem.description.clone(),
                fatal: problem.fatal,
            }
            .into_active_model()
        });
        roster_import_problem::Entity::insert_many(rows)
            .exec_without_returning(conn)
            .await?;
    }
    Ok(())
}

pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RosterImportId,
) -> Result<Option<Import>, DbErr> {
    roster_import::Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await
}

/// An import, kept from others until the transaction ends.
pub(crate) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RosterImportId,
) -> Result<Option<Import>, DbErr> {
    roster_import::Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .lock_exclusive()
        .one(conn)
        .await
}

/// Whether another import runs, or ended after `since`: then what was checked may not be so any more.
pub(crate) async fn overtaken(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RosterImportId,
    since: DateTime<Utc>,
) -> Result<bool, DbErr> {
    use roster_import::Column;
    let newer = Condition::any()
        .add(Column::State.eq(i32::from(RosterImportState::Running)))
        .add(Column::FinishTime.gte(since));
    let found = roster_import::Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ImportId.ne(id.uuid()))
        .filter(newer)
        .limit(1)
        .one(conn)
        .await?;
    Ok(found.is_some())
}

/// Stores an import as it now is and raises its revision; the row must have been locked.
pub(crate) async fn update(
    conn: &impl ConnectionTrait,
    _scope: &OrgScope,
    import: &Import,
) -> Result<(), DbErr> {
    roster_import::Entity::update(import.clone().into_active_model().reset_all())
        .exec(conn)
        .await?;
    Ok(())
}

/// Imports, newest first, after a key.
pub(crate) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    after: Option<RosterImportId>,
    limit: u64,
) -> Result<Vec<Import>, DbErr> {
    use roster_import::Column;
    roster_import::Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Condition::all().add_option(after.map(|id| Column::ImportId.lt(id.uuid()))))
        .order_by_desc(Column::ImportId)
        .limit(limit)
        .all(conn)
        .await
}

/// Rows of the difference after a place, of one kind if named.
pub(crate) async fn list_changes(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RosterImportId,
    kind: Option<i16>,
    after: i64,
    limit: u64,
) -> Result<Vec<ChangeRow>, DbErr> {
    use roster_import_change::Column;
    roster_import_change::Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ImportId.eq(id.uuid()))
        .filter(Column::Seq.gt(after))
        .filter(Condition::all().add_option(kind.map(|kind| Column::Kind.eq(kind))))
        .order_by_asc(Column::Seq)
        .limit(limit)
        .all(conn)
        .await
}

/// Problems after a place.
pub(crate) async fn list_problems(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: RosterImportId,
    after: i64,
    limit: u64,
) -> Result<Vec<ProblemRow>, DbErr> {
    use roster_import_problem::Column;
    roster_import_problem::Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ImportId.eq(id.uuid()))
        .filter(Column::Seq.gt(after))
        .order_by_asc(Column::Seq)
        .limit(limit)
        .all(conn)
        .await
}

/// Whom imports brought, by the source's id.
pub(crate) async fn people(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
) -> Result<BTreeMap<String, MemberId>, DbErr> {
    let rows = roster_person::Entity::find()
        .filter(roster_person::Column::OrgId.eq(scope.org_id().uuid()))
        .all(conn)
        .await?;
    let pair = |row: roster_person::Model| (row.source_key, MemberId::from_uuid(row.member_id));
    Ok(rows.into_iter().map(pair).collect())
}

/// Who of these ids is whom.
pub(crate) async fn people_of(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    keys: &[String],
) -> Result<BTreeMap<String, MemberId>, DbErr> {
    let rows = roster_person::Entity::find()
        .filter(roster_person::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(roster_person::Column::SourceKey.is_in(keys))
        .all(conn)
        .await?;
    let pair = |row: roster_person::Model| (row.source_key, MemberId::from_uuid(row.member_id));
    Ok(rows.into_iter().map(pair).collect())
}

/// Notes which member a person of the source is.
pub(crate) async fn put_person(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    key: &str,
    member: MemberId,
) -> Result<(), DbErr> {
    let row = roster_person::ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        source_key: Set(key.to_owned()),
        member_id: Set(member.uuid()),
    };
    let again = OnConflict::columns([roster_person::Column::OrgId, roster_person::Column::SourceKey])
        .update_column(roster_person::Column::MemberId)
        .to_owned();
    roster_person::Entity::insert(row)
        .on_conflict(again)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

pub(crate) async fn delete_person(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    key: &str,
) -> Result<(), DbErr> {
    roster_person::Entity::delete_by_id((scope.org_id().uuid(), key.to_owned()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Labels by the source's class ids.
pub(crate) async fn classes(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
) -> Result<BTreeMap<String, String>, DbErr> {
    let rows = roster_class::Entity::find()
        .filter(roster_class::Column::OrgId.eq(scope.org_id().uuid()))
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(|row| (row.source_key, row.label)).collect())
}

/// Notes the classes of a set.
pub(crate) async fn put_classes(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    classes: &BTreeMap<String, String>,
) -> Result<(), DbErr> {
    let rows: Vec<_> = classes
        .iter()
        .map(|(key, label)| roster_class::ActiveModel {
            org_id: Set(scope.org_id().uuid()),
            source_key: Set(key.clone()),
            label: Set(label.clone()),
        })
        .collect();
    for some in rows.chunks(ROWS) {
        let again = OnConflict::columns([roster_class::Column::OrgId, roster_class::Column::SourceKey])
            .update_column(roster_class::Column::Label)
            .to_owned();
        roster_class::Entity::insert_many(some.to_vec())
            .on_conflict(again)
            .exec_without_returning(conn)
            .await?;
    }
    Ok(())
}
