//! The tables and the functions of the database.
mod m0001_chat_tables;
mod m0002_archive;
mod m0003_post;
mod m0004_try_post;
mod m0005_responsible;
mod m0006_beginnings;
#[cfg(feature = "upgrade-test")]
mod upgrade_test;

use sea_orm_migration::MigrationTrait;

/// The service's own migrations.
pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![
        Box::new(m0001_chat_tables::Tables),
        Box::new(m0002_archive::Archive),
        Box::new(m0003_post::MessageFunctions),
        Box::new(m0004_try_post::TryFunctions),
        Box::new(m0005_responsible::Responsible),
        Box::new(m0006_beginnings::Beginnings),
        #[cfg(feature = "upgrade-test")]
        Box::new(upgrade_test::UpgradeTest),
    ]
}
