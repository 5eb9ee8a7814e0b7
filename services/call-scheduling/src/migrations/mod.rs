//! The service's own migrations, in order.
mod m0001_call_scheduling_tables;
mod m0002_rooms;

use sea_orm_migration::MigrationTrait;

pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![
        Box::new(m0001_call_scheduling_tables::Tables),
        Box::new(m0002_rooms::Tables),
    ]
}
