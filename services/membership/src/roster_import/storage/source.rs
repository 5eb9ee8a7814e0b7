//! The tables `roster_person` and `roster_class` and named queries over them.
use std::collections::BTreeMap;

use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{MemberId, TypedId as _};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    sea_query::OnConflict,
};

use super::ROWS_PER_INSERT;

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

/// Returns the members that imports created, by their ids in the source.
pub(crate) async fn people(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
) -> Result<BTreeMap<String, MemberId>, StorageError> {
    let rows = roster_person::Entity::find()
        .filter(roster_person::Column::OrgId.eq(scope.org_id().uuid()))
        .all(conn)
        .await?;
    let pair = |row: roster_person::Model| (row.source_key, MemberId::from_uuid(row.member_id));
    Ok(rows.into_iter().map(pair).collect())
}

/// Returns the members that imports created for these ids in the source.
pub(crate) async fn people_of(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    keys: &[String],
) -> Result<BTreeMap<String, MemberId>, StorageError> {
    let rows = roster_person::Entity::find()
        .filter(roster_person::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(roster_person::Column::SourceKey.is_in(keys))
        .all(conn)
        .await?;
    let pair = |row: roster_person::Model| (row.source_key, MemberId::from_uuid(row.member_id));
    Ok(rows.into_iter().map(pair).collect())
}

/// Stores the members of people in the source, as many as one statement takes.
pub(crate) async fn put_people(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    people: &[(&str, MemberId)],
) -> Result<(), StorageError> {
    let rows = people.iter().map(|(key, member)| roster_person::ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        source_key: Set((*key).to_owned()),
        member_id: Set(member.uuid()),
    });
    roster_person::Entity::insert_many(rows)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Returns the labels of imported classes, by their ids in the source.
pub(crate) async fn classes(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
) -> Result<BTreeMap<String, String>, StorageError> {
    let rows = roster_class::Entity::find()
        .filter(roster_class::Column::OrgId.eq(scope.org_id().uuid()))
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(|row| (row.source_key, row.label)).collect())
}

/// Stores the classes of a set of files.
pub(crate) async fn put_classes(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    classes: &BTreeMap<String, String>,
) -> Result<(), StorageError> {
    let rows: Vec<_> = classes
        .iter()
        .map(|(key, label)| roster_class::ActiveModel {
            org_id: Set(scope.org_id().uuid()),
            source_key: Set(key.clone()),
            label: Set(label.clone()),
        })
        .collect();
    for chunk in rows.chunks(ROWS_PER_INSERT) {
        let on_conflict = OnConflict::columns([roster_class::Column::OrgId, roster_class::Column::SourceKey])
            .update_column(roster_class::Column::Label)
            .to_owned();
        roster_class::Entity::insert_many(chunk.to_vec())
            .on_conflict(on_conflict)
            .exec_without_returning(conn)
            .await?;
    }
    Ok(())
}
