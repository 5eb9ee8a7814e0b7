//! The service's tables. Rows are private to this module; queries take the proof of scope.
pub(crate) mod calls;
mod entities;
mod migration;
pub(crate) mod occurrences;

use sea_orm_migration::MigrationTrait;

/// The service's own migrations.
pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(migration::Tables)]
}
