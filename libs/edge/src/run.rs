use parta_access::Caller;
use parta_database::Tx;

/// One run of a mutation or a query: its dependencies, its transaction and its caller.
///
/// A transaction that is rolled back is repeated with another `Run`.
#[derive(Debug)]
pub struct Run<'a, C> {
    /// The dependencies of the service's features.
    pub context: &'a C,
    /// The transaction that commits with the run.
    pub tx: &'a Tx,
    /// The authenticated caller of the RPC.
    pub caller: &'a Caller,
}

// Derived, both would require that the context can be copied.
impl<C> Clone for Run<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Run<'_, C> {}
