//! The service's tables. Rows are private to this module; queries take the proof of scope.
mod entities;
pub(crate) mod invitations;
mod migration;
pub(crate) mod reservations;

use sea_orm_migration::MigrationTrait;

/// The service's own migrations.
pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(migration::Tables)]
}
