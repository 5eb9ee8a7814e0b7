//! What changes invitations.
mod annul;
mod create;

pub(crate) use annul::AnnulFilter;
