//! Named queries. Entities stay in here.

pub(crate) mod applications;
mod entities;
mod migration;
pub(crate) mod organizations;
pub(crate) mod units;

pub(crate) use migration::migrations;
