//! The tables of changes and named queries over them.
use std::collections::BTreeMap;

use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{MemberId, OrgId, PolicyChangeId, TypedId, Uuid};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::model::{Order, PolicyChange, PolicyPath, ValueChange};

table!(change, "policy_change", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    policy_change_id: Uuid,
    author_id: Uuid,
    create_time: DateTimeUtc,
    confirm_time: Option<DateTimeUtc>,
    confirmer_id: Option<Uuid>,
    order_number: Option<String>,
    order_date: Option<Date>,
    order_text: Option<String>,
    drop_time: Option<DateTimeUtc>,
    dropper_id: Option<Uuid>,
    policies_version: Option<i64>,
});

table!(value, "policy_change_value", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    policy_change_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    path: String,
    value_before: String,
    value_after: String,
});

/// The error contains the length of a text and not the text itself, because it would be logged.
fn unknown_text(column: &'static str, text: &str) -> StorageError {
    StorageError::unknown_value(column, i64::try_from(text.len()).unwrap_or(i64::MAX))
}

fn value_change(row: &value::Model) -> Result<ValueChange, StorageError> {
    let path = PolicyPath::from_name(&row.path)
        .ok_or_else(|| unknown_text("policy_change_value.path", &row.path))?;
    let decode = |column, text: &str| path.decode(text).ok_or_else(|| unknown_text(column, text));
    Ok(ValueChange {
        before: decode("policy_change_value.value_before", &row.value_before)?,
        after: decode("policy_change_value.value_after", &row.value_after)?,
    })
}

fn from_row(row: change::Model, values: Vec<ValueChange>) -> PolicyChange {
    let order = row.order_number.zip(row.order_date).zip(row.order_text);
    PolicyChange {
        org_id: OrgId::from_uuid(row.org_id),
        id: PolicyChangeId::from_uuid(row.policy_change_id),
        values,
        author_id: MemberId::from_uuid(row.author_id),
        create_time: row.create_time,
        confirm_time: row.confirm_time,
        confirmer_id: row.confirmer_id.map(MemberId::from_uuid),
        order: order.map(|((number, date), text)| Order { number, date, text }),
        drop_time: row.drop_time,
        dropper_id: row.dropper_id.map(MemberId::from_uuid),
        policies_version: row.policies_version,
    }
}

/// Returns the row of a change. Refuses one of another organization than the scope's.
fn to_row(scope: &OrgScope, from: &PolicyChange) -> Result<change::Model, StorageError> {
    if from.org_id != scope.org_id() {
        return Err(StorageError::Fault(
            "a row of another organization than the scope's was to be written".into(),
        ));
    }
    let order = from.order.as_ref();
    Ok(change::Model {
        org_id: from.org_id.uuid(),
        policy_change_id: from.id.uuid(),
        author_id: from.author_id.uuid(),
        create_time: from.create_time,
        confirm_time: from.confirm_time,
        confirmer_id: from.confirmer_id.map(TypedId::uuid),
        order_number: order.map(|order| order.number.clone()),
        order_date: order.map(|order| order.date),
        order_text: order.map(|order| order.text.clone()),
        drop_time: from.drop_time,
        dropper_id: from.dropper_id.map(TypedId::uuid),
        policies_version: from.policies_version,
    })
}

/// Adds the values to the rows of changes, in two queries for any number of changes.
async fn with_values(
    conn: &impl ConnectionTrait,
    rows: Vec<change::Model>,
) -> Result<Vec<PolicyChange>, StorageError> {
    let orgs = rows.iter().map(|row| row.org_id);
    let ids = rows.iter().map(|row| row.policy_change_id);
    let found = value::Entity::find()
        .filter(value::Column::OrgId.is_in(orgs))
        .filter(value::Column::PolicyChangeId.is_in(ids))
        .order_by_asc(value::Column::Path)
        .all(conn)
        .await?;
    let mut values: BTreeMap<Uuid, Vec<ValueChange>> = BTreeMap::new();
    for row in found {
        let of_change = values.entry(row.policy_change_id).or_default();
        of_change.push(value_change(&row)?);
    }
    let mut of = |id| values.remove(&id).unwrap_or_default();
    Ok(rows
        .into_iter()
        .map(|row| {
            let values = of(row.policy_change_id);
            from_row(row, values)
        })
        .collect())
}

fn pending() -> Condition {
    Condition::all()
        .add(change::Column::PoliciesVersion.is_null())
        .add(change::Column::DropTime.is_null())
}

/// Inserts a change with its values.
pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    change: &PolicyChange,
) -> Result<(), StorageError> {
    change::Entity::insert(to_row(scope, change)?.into_active_model())
        .exec_without_returning(conn)
        .await?;
    let values = change.values.iter().map(|of| {
        let row = value::Model {
            org_id: change.org_id.uuid(),
            policy_change_id: change.id.uuid(),
            path: of.path().name().to_owned(),
            value_before: of.before.text(),
            value_after: of.after.text(),
        };
        row.into_active_model()
    });
    value::Entity::insert_many(values)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Saves all columns of a change. Its values never change.
pub(super) async fn update(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    change: &PolicyChange,
) -> Result<(), StorageError> {
    change::Entity::update(to_row(scope, change)?.into_active_model().reset_all())
        .exec(conn)
        .await?;
    Ok(())
}

/// Loads a change.
pub(super) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: PolicyChangeId,
) -> Result<Option<PolicyChange>, StorageError> {
    let rows = change::Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .all(conn)
        .await?;
    Ok(with_values(conn, rows).await?.pop())
}

/// Returns the pending change of a policy. The caller has locked the organization, so that there is at most
/// one.
pub(super) async fn find_pending(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    path: PolicyPath,
) -> Result<Option<PolicyChangeId>, StorageError> {
    let waiting = list(conn, scope, true, None, PolicyPath::ALL.len() as u64).await?;
    let of_path = |change: &&PolicyChange| change.values.iter().any(|value| value.path() == path);
    Ok(waiting.iter().find(of_path).map(|change| change.id))
}

/// Lists the changes of the organization, newest first, before a key.
pub(super) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    pending_only: bool,
    before: Option<PolicyChangeId>,
    limit: u64,
) -> Result<Vec<PolicyChange>, StorageError> {
    let rows = change::Entity::find()
        .filter(change::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Condition::all().add_option(pending_only.then(pending)))
        .filter(Condition::all().add_option(before.map(|id| change::Column::PolicyChangeId.lt(id.uuid()))))
        .order_by_desc(change::Column::PolicyChangeId)
        .limit(limit)
        .all(conn)
        .await?;
    with_values(conn, rows).await
}

/// Lists the pending changes of all organizations in the order of their ids, after a key. Only the operator
/// reads across organizations.
pub(super) async fn list_pending(
    conn: &impl ConnectionTrait,
    after: Option<PolicyChangeId>,
    limit: u64,
) -> Result<Vec<PolicyChange>, StorageError> {
    let rows = change::Entity::find()
        .filter(pending())
        .filter(Condition::all().add_option(after.map(|id| change::Column::PolicyChangeId.gt(id.uuid()))))
        .order_by_asc(change::Column::PolicyChangeId)
        .limit(limit)
        .all(conn)
        .await?;
    with_values(conn, rows).await
}
