//! The service's own migrations, in order.
mod m0001_org_registry_tables;
mod m0002_history_for_newcomers;

use sea_orm_migration::MigrationTrait;

pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![
        Box::new(m0001_org_registry_tables::Tables),
        Box::new(m0002_history_for_newcomers::History),
    ]
}
