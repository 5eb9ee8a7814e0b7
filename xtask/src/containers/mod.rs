//! Containers: the engine that runs them, and the images that are built for it.

mod development;
mod engine;
mod images;

pub(crate) use development::development;
pub(crate) use engine::Engine;
pub(crate) use images::{NATS, PARTA, POSTGRES, make_nats, make_parta, make_postgres};
