use std::future::Future;

use parta_access::Caller;
use parta_status::RpcError;
use parta_storage::{StorageError, Tx};

use crate::{Call, Edge};

/// An act of an RPC without a `request_id`: every call carries it out, and nothing is kept for repetitions.
/// For RPCs whose response must be new each time, for example a token that expires soon. The docs of
/// [`Mutation`](crate::Mutation) about effects and the order of locks hold here too.
pub trait UnclaimedMutation: Send + Sync + Sized {
    /// The dependencies of the service's features.
    type Context: Send + Sync;
    /// The proof that the caller may do the act: the scope, the facts read and the rows locked for it.
    type Grant: Send + Sync;
    /// The content of the response.
    type View: Send;
    /// The error of the feature.
    type Error: From<StorageError> + From<RpcError> + Send;

    /// Decides whether the caller may do the act at all. Reads facts and locks rows, and finds ended and
    /// archived rows too: whether their state allows the act is decided by [`UnclaimedMutation::act`].
    fn authorize(
        &self,
        context: &Self::Context,
        tx: &Tx,
        caller: &Caller,
    ) -> impl Future<Output = Result<Self::Grant, Self::Error>> + Send;

    /// Carries the act out: decides whether the state allows it, saves, audits and appends events. Returns
    /// what the response shows.
    fn act(
        &self,
        context: &Self::Context,
        tx: &Tx,
        caller: &Caller,
        grant: &Self::Grant,
    ) -> impl Future<Output = Result<Self::View, Self::Error>> + Send;
}

impl<C: Send + Sync> Edge<C> {
    /// Carries an act out in one transaction, without a claim and without a record.
    pub async fn mutate_unclaimed<T, M>(&self, call: &Call<T>, mutation: &M) -> Result<M::View, M::Error>
    where
        T: Sync,
        M: UnclaimedMutation<Context = C>,
    {
        let (context, caller) = (&*self.context, call.caller());
        self.db
            .write(|tx| async move {
                let grant = mutation.authorize(context, &tx, caller).await?;
                mutation.act(context, &tx, caller, &grant).await
            })
            .await
    }
}
