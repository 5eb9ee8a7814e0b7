//! Plays a school's first weeks through the public API of a running server, step by step.
//!
//! Every step asserts the result that it prints. Each run creates new people, so that the demo can run again
//! on the same data.
mod actors;
mod families;
mod joining;
mod outsiders;
mod participants;
mod roster;
mod scenario;
pub mod school;
mod staff;
mod talk;

use std::fmt;

use anyhow::{Context as _, ensure};
use futures::future::BoxFuture;
use parta_status::RpcError;
use serde::Serialize;
use tonic::{Code, Status};

use crate::{
    client::{Endpoints, Session},
    output::Failure,
};

/// A step that was carried out and checked.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Counted from 1.
    pub number: usize,
    /// The result, for people.
    pub what: String,
    /// The requirements that the step shows.
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

/// Collects the steps and passes each one to a callback.
struct Narrator<F> {
    steps: Vec<Step>,
    on_step: F,
}

impl<F: FnMut(&Step)> Narrator<F> {
    fn step(&mut self, requirements: &'static str, what: impl Into<String>) {
        let step = Step {
            number: self.steps.len() + 1,
            what: what.into(),
            requirements,
        };
        (self.on_step)(&step);
        self.steps.push(step);
    }
}

/// The way in which the one-time codes of the actors arrive.
pub trait Codes: Send + Sync {
    /// Returns the code that was sent last to a phone.
    fn code<'a>(&'a self, phone: &'a str) -> BoxFuture<'a, anyhow::Result<String>>;
}

/// Plays the whole scenario against a server that keeps its codes in the development outbox. Fails at the
/// first unexpected result.
pub async fn play(
    endpoints: &Endpoints,
    operator_key: &str,
    on_step: impl FnMut(&Step),
) -> anyhow::Result<Vec<Step>> {
    let outbox = actors::Outbox(Session::new(endpoints)?.with(operator_key)?);
    play_with_codes(endpoints, operator_key, &outbox, on_step).await
}

/// [`play`] against a server that sends its codes elsewhere.
pub async fn play_with_codes(
    endpoints: &Endpoints,
    operator_key: &str,
    codes: &dyn Codes,
    on_step: impl FnMut(&Step),
) -> anyhow::Result<Vec<Step>> {
    let anonymous = Session::new(endpoints)?;
    let operator = anonymous.with(operator_key)?;
    let actors = actors::Actors::new(anonymous, operator, codes);
    let mut narrator = Narrator {
        steps: Vec::new(),
        on_step,
    };
    scenario::play(&actors, &mut narrator).await?;
    Ok(narrator.steps)
}

/// Converts a failed call into an error of the command line. [`Failure`] can be downcast from it.
fn to_error(status: Status) -> anyhow::Error {
    anyhow::Error::new(Failure::from(status))
}

/// Fails unless the call was refused as unknown, forbidden or unauthenticated.
fn refused<T>(what: &str, outcome: &Result<T, Status>) -> anyhow::Result<()> {
    let code = outcome.as_ref().err().map(Status::code);
    let kept_out = [Code::NotFound, Code::PermissionDenied, Code::Unauthenticated];
    ensure!(
        code.is_some_and(|code| kept_out.contains(&code)),
        "{what} should have been refused, but the code was {}",
        code.map_or_else(|| "OK".to_owned(), |code| format!("{code:?}"))
    );
    Ok(())
}

/// Fails unless the call was refused for this reason.
fn refused_because<T>(reason: &str, what: &str, outcome: Result<T, Status>) -> anyhow::Result<()> {
    let status = outcome
        .err()
        .with_context(|| format!("{what} should have been refused"))?;
    let found = RpcError::from_status(&status).map(|refusal| refusal.reason().to_owned());
    ensure!(
        found.as_deref() == Some(reason),
        "{what} should have been refused with {reason}, but was with {found:?}"
    );
    Ok(())
}
