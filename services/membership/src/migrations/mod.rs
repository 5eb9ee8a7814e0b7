//! The migrations of the service's database.
mod m0001_membership_tables;
mod m0002_roster_import_tables;
mod m0003_revocation_tables;
mod m0004_purge_indexes;
mod m0005_one_time_codes;

use sea_orm_migration::MigrationTrait;

/// The service's own migrations.
pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![
        Box::new(m0001_membership_tables::Tables),
        Box::new(m0002_roster_import_tables::Tables),
        Box::new(m0003_revocation_tables::Tables),
        Box::new(m0004_purge_indexes::Indexes),
        Box::new(m0005_one_time_codes::Tables),
    ]
}
