use std::future::Future;

use parta_database::{StorageError, Tx};
use parta_ids::OrgId;
use parta_status::RpcError;

use crate::{Call, Edge, Run};

/// A read. The query is the implementing type; it holds typed values and no protobuf.
pub trait Query: Send + Sync + Sized {
    /// The dependencies of the service's features.
    type Context: Send + Sync;
    /// The content of the response.
    type View: Send;
    /// The error of the feature.
    type Error: From<StorageError> + From<RpcError> + Send;

    /// Authorizes and reads in one transaction, so that both see the same state of the database.
    fn run(
        &self,
        run: Run<'_, Self::Context>,
    ) -> impl Future<Output = Result<Read<Self::View>, Self::Error>> + Send;
}

/// The result of a query, and whether the audit log records it.
#[derive(Debug)]
pub struct Read<V> {
    view: V,
    /// The organization and the resource that the audit log names.
    audited: Option<(Option<OrgId>, String)>,
}

impl<V> Read<V> {
    /// A read that the audit log does not record.
    pub fn plain(view: V) -> Self {
        Self { view, audited: None }
    }

    /// A read that the audit log records, for example staff who read personal data (R60). `object` is the
    /// name of the collection or resource below the organization, for example `guardianships`.
    pub fn audited(view: V, org_id: OrgId, object: &str) -> Self {
        Self {
            view,
            audited: Some((Some(org_id), format!("organizations/{org_id}/{object}"))),
        }
    }

    /// A read by the operator that the audit log records in the chain of the platform, because `object`, for
    /// example `applications/app_...`, belongs to no organization.
    pub fn audited_on_platform(view: V, object: String) -> Self {
        Self {
            view,
            audited: Some((None, object)),
        }
    }
}

impl<C: Send + Sync> Edge<C> {
    /// Runs a read. An audited one returns only after its row was committed.
    pub async fn query<T, Q>(&self, call: &Call<T>, query: &Q) -> Result<Q::View, Q::Error>
    where
        T: Sync,
        Q: Query<Context = C>,
    {
        let (context, caller) = (&*self.context, call.caller());
        let Read { view, audited } = self
            .db
            .read(|tx| async move {
                let tx = &tx;
                query.run(Run { context, tx, caller }).await
            })
            .await?;
        if let Some((org_id, object)) = &audited {
            let record = |tx: Tx| async move {
                parta_audit::record(&tx, caller, *org_id, object.as_str()).await?;
                Ok::<_, Q::Error>(())
            };
            self.db.write(record).await?;
        }
        Ok(view)
    }
}
