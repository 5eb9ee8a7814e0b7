//! Corrections of names, with the former names (R71), and namesakes of the staff.
//!
//! Owns the table `former_name`; its acts are RPCs of MemberService. Serves NameService, by which other
//! services name the people whom they show. Invariants: nobody corrects their own name; a name that
//! changes is kept, also if an import changes it, unless the correction is sealed; after a sealed
//! correction no earlier name is stored.

mod grpc;
mod model;
mod operations;
mod policy;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use grpc::Names;
pub(crate) use model::FormerName;
pub(crate) use operations::{CorrectName, GetNames, ListFormerNames, keep};
pub(crate) use policy::rules;
