//! The migrations of the service's database.
mod m0001_membership_tables;
mod m0002_roster_import_tables;

use sea_orm_migration::MigrationTrait;

/// All migrations of a membership database, in order.
pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    let mut all = parta_storage::migrations();
    all.extend(parta_audit::migrations());
    all.extend(parta_feed::migrations());
    all.extend(parta_roster::migrations());
    all.push(Box::new(m0001_membership_tables::Tables));
    all.push(Box::new(m0002_roster_import_tables::Tables));
    all
}
