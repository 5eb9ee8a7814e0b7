//! The migrations of the service, in order.
mod m0001_org_registry_tables;

pub(crate) use m0001_org_registry_tables::migrations;
