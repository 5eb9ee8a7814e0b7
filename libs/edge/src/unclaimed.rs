use std::future::Future;

use parta_database::StorageError;
use parta_status::RpcError;

use crate::{Call, Edge, Run};

/// An act that changes state and has no `request_id`: sending it again is another act, which counts again.
/// The act is the implementing type; it holds typed values and no protobuf.
///
/// An act may run several times in transactions that are rolled back, so it has no effects outside the
/// transaction.
pub trait UnclaimedMutation: Send + Sync + Sized {
    /// The dependencies of the service's features.
    type Context: Send + Sync;
    /// The content of the response.
    type View: Send;
    /// The error of the feature.
    type Error: From<StorageError> + From<RpcError> + Send;

    /// Authorizes, decides and saves in one transaction. An error rolls back.
    fn run(
        &self,
        run: Run<'_, Self::Context>,
    ) -> impl Future<Output = Result<Act<Self::View>, Self::Error>> + Send;
}

/// The end of an act that commits.
#[derive(Debug)]
pub enum Act<V> {
    /// Carried out.
    Done(V),
    /// Refused, and the changes are committed, for example a counter of failed attempts.
    RefusedButKept(RpcError),
}

impl<C: Send + Sync> Edge<C> {
    /// Carries out an act that has no `request_id`.
    pub async fn mutate_unclaimed<T, M>(&self, call: &Call<T>, act: &M) -> Result<M::View, M::Error>
    where
        T: Sync,
        M: UnclaimedMutation<Context = C>,
    {
        let (context, caller) = (&*self.context, call.caller());
        let ended = self
            .db
            .write(|tx| async move {
                let tx = &tx;
                act.run(Run { context, tx, caller }).await
            })
            .await?;
        match ended {
            Act::Done(view) => Ok(view),
            Act::RefusedButKept(refusal) => Err(refusal.into()),
        }
    }
}
