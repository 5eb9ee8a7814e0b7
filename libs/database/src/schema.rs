//! The builds that may serve with a schema.
//!
//! A build serves if all of its own migrations are applied. Migrations that it does not know were applied by
//! a newer build. It serves with them too, so that old and new replicas serve side by side during a rollout
//! and after a rollback, unless a migration took away what older builds use. Such a migration records what a
//! build has to know ([`require_migration`]).
use std::collections::BTreeSet;

use sea_orm::{
    ActiveValue::Set,
    ConnectionTrait, DbErr, EntityTrait as _, QuerySelect as _, QueryTrait as _,
    sea_query::{Expr, OnConflict, UnionType},
};
use sea_orm_migration::{MigrationTrait, SchemaManager, seaql_migrations};

use crate::StorageError;

crate::table!(requirement, "schema_requirement", {
    #[sea_orm(primary_key, auto_increment = false)]
    migration: String,
});

/// The migrations of a schema, as far as they decide whether this build may serve with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaState {
    /// Migrations of a newer build, which this build does not know.
    pub newer: Vec<String>,
}

/// Records that only builds that know `migration` may serve from now on. A migration that takes away what
/// older builds use (contract) calls it with the name of the migration that added the replacement (expand),
/// at least one release later.
pub async fn require_migration(manager: &SchemaManager<'_>, migration: &str) -> Result<(), DbErr> {
    let row = requirement::ActiveModel {
        migration: Set(migration.to_owned()),
    };
    requirement::Entity::insert(row)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(manager.get_connection())
        .await
        .map(drop)
}

/// The migrations that a database records, beside those of this build.
pub(crate) struct Applied {
    own: Vec<String>,
    applied: BTreeSet<String>,
    required: BTreeSet<String>,
}

impl Applied {
    /// Reads the migrations of a database whose tables exist.
    pub(crate) async fn read(
        conn: &impl ConnectionTrait,
        migrations: &[Box<dyn MigrationTrait>],
    ) -> Result<Self, DbErr> {
        let own = migrations.iter().map(|migration| migration.name().to_owned());
        // One statement, because each replica reads them every two seconds.
        let mut versions = seaql_migrations::Entity::find()
            .select_only()
            .column(seaql_migrations::Column::Version)
            .expr_as(Expr::value(false), "is_required")
            .into_query();
        let required = requirement::Entity::find()
            .select_only()
            .column(requirement::Column::Migration)
            .expr(Expr::value(true))
            .into_query();
        versions.union(UnionType::All, required);
        let statement = conn.get_database_backend().build(&versions);
        let (mut applied, mut required) = (BTreeSet::new(), BTreeSet::new());
        for row in conn.query_all_raw(statement).await? {
            let version: String = row.try_get("", "version")?;
            if row.try_get("", "is_required")? {
                required.insert(version);
            } else {
                applied.insert(version);
            }
        }
        Ok(Self {
            own: own.collect(),
            applied,
            required,
        })
    }

    /// Returns this build's migrations that are not applied, in order.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &String> {
        self.own.iter().filter(|name| !self.applied.contains(*name))
    }

    /// Returns the migrations of a newer build.
    pub(crate) fn newer(&self) -> Vec<String> {
        let newer = self.applied.iter().filter(|name| !self.own.contains(name));
        newer.cloned().collect()
    }

    /// Refuses a schema that requires a newer build.
    pub(crate) fn check_required(&self) -> Result<(), StorageError> {
        match self.required.iter().find(|name| !self.own.contains(name)) {
            Some(name) => Err(StorageError::Schema(format!(
                "it requires a version that knows {name}, and this version does not; start a newer version"
            ))),
            None => Ok(()),
        }
    }

    /// Decides whether this build may serve. `service` is the service that owns the database.
    pub(crate) fn check(&self, service: &str) -> Result<SchemaState, StorageError> {
        if let Some(name) = self.pending().next() {
            return Err(StorageError::Schema(format!(
                "{name} is not applied; run `parta migrate {service}` first"
            )));
        }
        self.check_required()?;
        Ok(SchemaState { newer: self.newer() })
    }
}
