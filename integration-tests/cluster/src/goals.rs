//! The goals of the image: the time of its start, and its memory at rest.
use crate::{GOALS, given};

/// The limits of one process with all services.
#[derive(Debug, Clone, Copy)]
pub struct Goals {
    /// Milliseconds from the start of the process to readiness, on an empty volume.
    pub start_ms: u128,
    /// Resident memory at rest in MiB.
    pub memory_mib: f64,
}

impl Goals {
    /// Reads the goals that `cargo xtask image` gives: both numbers, separated by a comma.
    pub fn given() -> Self {
        let text = given(GOALS);
        let (start, memory) = text.split_once(',').expect("two numbers");
        Self {
            start_ms: start.parse().expect("milliseconds"),
            memory_mib: memory.parse().expect("MiB"),
        }
    }
}
