//! The privileges of the role that serves on the tables of another role.
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, Statement};

use crate::StorageError;

/// Tables that only migrations write: they decide which versions may serve.
const READ_ONLY: [&str; 2] = ["seaql_migrations", "schema_requirement"];

/// Returns the tables on which a role lacks a privilege that serving needs; without a name, the role of the
/// connection.
pub(crate) async fn missing(conn: &impl ConnectionTrait, role: Option<&str>) -> Result<Vec<String>, DbErr> {
    let sql = format!(
        "SELECT c.relname::text FROM pg_class c, LATERAL (SELECT coalesce($1::text::name, current_user) AS name) role
         WHERE c.relnamespace = to_regnamespace(current_schema()) AND c.relkind IN ('r', 'p')
         AND NOT (has_table_privilege(role.name, c.oid, 'SELECT') AND (c.relname IN ('{}') OR
         (has_table_privilege(role.name, c.oid, 'INSERT') AND has_table_privilege(role.name, c.oid, 'UPDATE')
         AND has_table_privilege(role.name, c.oid, 'DELETE')))) ORDER BY 1",
        READ_ONLY.join("', '")
    );
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, [role.into()]);
    let rows = conn.query_all_raw(statement).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// Grants the role that serves only what it needs: rows, not the schema. Nothing is written if it has
/// that already, because each grant makes all sessions plan their statements again.
pub(crate) async fn grant(conn: &DatabaseTransaction, serving: Option<&str>) -> Result<(), StorageError> {
    let Some(serving) = serving else {
        return Ok(());
    };
    let statement = Statement::from_string(
        conn.get_database_backend(),
        "SELECT quote_ident(current_schema())",
    );
    let row = conn.query_one_raw(statement).await?;
    let schema: Option<String> = row.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
    let schema = schema.ok_or_else(|| StorageError::Schema("the role that migrates has no schema".into()))?;
    let quoted = format!("\"{}\"", serving.replace('"', "\"\""));
    let lacks = !missing(conn, Some(serving)).await?.is_empty();
    if !lacks {
        return Ok(());
    }
    for sql in [
        format!("GRANT USAGE ON SCHEMA {schema} TO {quoted}"),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {quoted}"),
        format!(
            "REVOKE INSERT, UPDATE, DELETE ON {} FROM {quoted}",
            READ_ONLY.join(", ")
        ),
    ] {
        conn.execute_unprepared(&sql).await?;
    }
    tracing::info!(role = serving, "granted the rows of all tables");
    Ok(())
}
