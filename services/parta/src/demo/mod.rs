//! A school's first weeks, played through the public API of a running suite and told step by step.
//!
//! Every step asserts what it tells. The people are made anew at each run, so that it can be played again on the same
//! data.
mod actors;
mod outsiders;
mod participants;
mod roster;
mod scenario;
pub mod school;
mod talk;

use std::fmt;

use anyhow::ensure;
use serde::Serialize;
use tonic::{Code, Status};

use crate::{
    client::{Endpoints, Session},
    output::Failure,
};

/// Something that was done and proven.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Counted from 1.
    pub number: usize,
    /// What happened.
    pub what: String,
    /// Which requirements it shows.
    pub requirements: &'static str,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            what,
            requirements,
        } = self;
        write!(f, "✓ {number:>2}. {what} ({requirements})")
    }
}

/// Collects and tells the steps.
struct Narrator<F> {
    steps: Vec<Step>,
    told: F,
}

impl<F: FnMut(&Step)> Narrator<F> {
    fn step(&mut self, requirements: &'static str, what: impl Into<String>) {
        let step = Step {
            number: self.steps.len() + 1,
            what: what.into(),
            requirements,
        };
        (self.told)(&step);
        self.steps.push(step);
    }
}

/// Plays the whole story. Fails at the first thing that is not as it should be.
pub async fn play(
    endpoints: &Endpoints,
    operator_key: &str,
    told: impl FnMut(&Step),
) -> anyhow::Result<Vec<Step>> {
    let anonymous = Session::new(endpoints)?;
    let operator = anonymous.with(operator_key)?;
    let town = actors::Actors::new(anonymous, operator);
    let mut narrator = Narrator {
        steps: Vec::new(),
        told,
    };
    scenario::play(&town, &mut narrator).await?;
    Ok(narrator.steps)
}

/// A failed call in the words of the command line; [`Failure`] can be taken out again.
fn said(status: Status) -> anyhow::Error {
    anyhow::Error::new(Failure::from(status))
}

/// Whether a call was refused as to somebody who may not know of the thing, or may not do it.
fn refused<T>(what: &str, outcome: &Result<T, Status>) -> anyhow::Result<()> {
    let code = outcome.as_ref().err().map(Status::code);
    let kept_out = [Code::NotFound, Code::PermissionDenied, Code::Unauthenticated];
    ensure!(
        code.is_some_and(|code| kept_out.contains(&code)),
        "{what} should have been refused, but the answer was {}",
        code.map_or_else(|| "OK".to_owned(), |code| format!("{code:?}"))
    );
    Ok(())
}
