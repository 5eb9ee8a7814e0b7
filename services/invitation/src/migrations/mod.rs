//! The service's own migrations, in order.
mod m0001_invitation_tables;
mod m0002_purge_index;

use sea_orm_migration::MigrationTrait;

/// The service's own migrations.
pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![
        Box::new(m0001_invitation_tables::Tables),
        Box::new(m0002_purge_index::PurgeIndex),
    ]
}
