//! The service's tables. Rows are private to the service's crate; queries within an organization take the proof of scope.
pub(crate) mod accounts;
pub(crate) mod appointments;
pub(crate) mod entities;
mod import_migration;
pub(crate) mod imports;
mod migration;
pub(crate) mod outbox;
pub(crate) mod sessions;

use sea_orm_migration::MigrationTrait;

/// The service's own migrations.
pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(migration::Tables), Box::new(import_migration::Tables)]
}
