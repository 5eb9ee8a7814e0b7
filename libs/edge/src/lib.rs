//! The edge of a call: the one path of every mutation and every read between the decoded request and the
//! response.
//!
//! ```text
//! request --decode--> command
//!   transaction {
//!      claim (principal, RPC, request_id)      -- or find the record of an earlier run
//!      authorize -> grant                      -- facts read and rows locked, ended ones too
//!      repetition:    compare the digest of the request; another one is refused
//!      new:           act: decide, save, audit, append events; keep ids and numbers
//!      view           -- loaded again for the first response and for a repetition alike
//!   }
//! result --encode--> response (+ consistency token)
//! ```
//!
//! Invariants: a caller who may not do the act is refused before anything is said about an earlier run of
//! it; a record of an earlier run holds ids and numbers, so that a repetition shows what is stored now and
//! erased names stay erased; the facts that authorize a mutation are read in the transaction that writes. A
//! feature implements [`Mutation`] and [`Query`]; its gRPC struct holds an [`Edge`] and only decodes and
//! encodes. An act without a `request_id` is an [`UnclaimedMutation`]; its refusal can commit changes,
//! such as a counter of failed attempts. See docs/adr/0010.
#![warn(missing_docs)]

mod call;
mod mutation;
mod outcome;
mod page;
mod page_token;
mod query;
mod run;
mod unclaimed;

use std::sync::Arc;

use parta_access::Caller;
use parta_database::Db;
use parta_feed::AtLeast;
use parta_status::RpcError;

pub use call::Call;
pub use mutation::{Done, Mutation};
pub use outcome::Stored;
pub use page::{Page, PageRequest};
pub use query::{Query, Read};
pub use run::Run;
pub use unclaimed::{Act, UnclaimedMutation};

/// The edge of one service. `C` holds the dependencies of its features. Cheap to clone.
pub struct Edge<C> {
    db: Db,
    at_least: AtLeast,
    context: Arc<C>,
}

impl<C> Clone for Edge<C> {
    fn clone(&self) -> Self {
        Self {
            db: self.db.clone(),
            at_least: self.at_least.clone(),
            context: self.context.clone(),
        }
    }
}

impl<C: Send + Sync> Edge<C> {
    /// Makes the edge over the service's database. `at_least` waits for what consistency tokens of callers
    /// name.
    pub fn new(db: Db, at_least: AtLeast, context: Arc<C>) -> Self {
        Self {
            db,
            at_least,
            context,
        }
    }

    /// The first steps of every RPC: who calls, and waiting (at most two seconds) until this service knows
    /// what the caller's consistency token names.
    pub async fn enter<T>(&self, request: tonic::Request<T>) -> Result<Call<T>, RpcError> {
        let caller = Caller::of(&request)?;
        self.at_least.wait_for(request.metadata()).await?;
        Ok(Call::new(caller, request.into_inner()))
    }
}
