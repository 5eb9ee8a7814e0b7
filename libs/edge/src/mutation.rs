use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
};

use parta_database::StorageError;
use parta_mutations::Claim;
use parta_proto::MutationRequest;
use parta_status::RpcError;

use crate::{Call, Edge, Run, Stored};

/// An act that changes state. The command is the implementing type; it holds typed values and no protobuf.
///
/// A mutation may run several times in transactions that are rolled back, so its methods have no effects
/// outside the transaction. Lock order: what `authorize` locks, then what `act` locks; a repetition locks
/// in the same order.
pub trait Mutation: Send + Sync + Sized {
    /// The dependencies of the service's features.
    type Context: Send + Sync;
    /// The proof that the caller may do the act: the scope, the facts read and the rows locked for it.
    type Grant: Send + Sync;
    /// The ids and numbers that the act produced and a repetition needs.
    type Outcome: Stored;
    /// The content of the response.
    type View: Send;
    /// The error of the feature.
    type Error: From<StorageError> + From<RpcError> + Send;

    /// Decides whether the caller may do the act at all. Reads facts and locks rows, and finds ended and
    /// archived rows too: whether their state allows the act is decided by [`Mutation::act`].
    fn authorize(
        &self,
        run: Run<'_, Self::Context>,
    ) -> impl Future<Output = Result<Self::Grant, Self::Error>> + Send;

    /// Carries the act out: decides whether the state allows it, saves, audits and appends events.
    fn act(
        &self,
        run: Run<'_, Self::Context>,
        grant: &Self::Grant,
    ) -> impl Future<Output = Result<Self::Outcome, Self::Error>> + Send;

    /// Loads what the response shows, after the act and for a repetition alike.
    fn view(
        &self,
        run: Run<'_, Self::Context>,
        grant: &Self::Grant,
        outcome: &Self::Outcome,
    ) -> impl Future<Output = Result<Self::View, Self::Error>> + Send;

    /// Decides whether a repetition is accepted today. By default it is if the caller may still do the
    /// act. Overridden only where the act takes the caller's own right away; those acts stand in
    /// docs/adr/0010 with a test each.
    fn regrant(
        &self,
        run: Run<'_, Self::Context>,
        outcome: &Self::Outcome,
    ) -> impl Future<Output = Result<Self::Grant, Self::Error>> + Send {
        let _ = outcome;
        self.authorize(run)
    }

    /// Called once, outside the transaction, when an attempt finds that an earlier one was committed, whether
    /// or not the repetition is accepted. The earlier attempt may have ended between its commit and the
    /// work that follows the commit. This function does that work again. The default does nothing.
    fn repeated(&self, context: &Self::Context) {
        let _ = context;
    }
}

/// The result of a mutation.
#[derive(Debug)]
pub struct Done<V> {
    /// The content of the response.
    pub view: V,
    /// Names the state after the act, for later calls to this and other services.
    pub consistency_token: String,
}

impl<C: Send + Sync> Edge<C> {
    /// Carries a mutation out once. A repetition with the same `request_id` and the same bytes returns
    /// what is stored now; one with other bytes is refused with REQUEST_ID_REUSED, after the caller
    /// was authorized.
    pub async fn mutate<T, M>(&self, call: &Call<T>, mutation: &M) -> Result<Done<M::View>, M::Error>
    where
        T: MutationRequest,
        M: Mutation<Context = C>,
    {
        let (context, caller) = (&*self.context, call.caller());
        let key = call.key()?;
        let found = &AtomicBool::new(false);
        let done = parta_mutations::mutate(&self.db, &key, |tx, claim| async move {
            let tx = &tx;
            let run = Run { context, tx, caller };
            let record = match claim {
                Claim::New(claimed) => {
                    let grant = mutation.authorize(run).await?;
                    let outcome = mutation.act(run, &grant).await?;
                    claimed.keep(tx, outcome.encode()?).await?;
                    let view = mutation.view(run, &grant, &outcome).await?;
                    let consistency_token = parta_mutations::finish(tx).await?;
                    return Ok(Done {
                        view,
                        consistency_token,
                    });
                }
                Claim::Before(record) => record,
            };
            found.store(true, Ordering::Relaxed);
            if !record.is_same_request() {
                mutation.authorize(run).await?;
            }
            let outcome = M::Outcome::decode(record.outcome()?)?;
            let grant = mutation.regrant(run, &outcome).await?;
            let view = mutation.view(run, &grant, &outcome).await?;
            Ok(Done {
                view,
                consistency_token: parta_mutations::finish(tx).await?,
            })
        })
        .await;
        if found.load(Ordering::Relaxed) {
            mutation.repeated(context);
        }
        done
    }
}
