use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    client::{ClientBuilder, ClientError, ServiceChannel, Target},
    context::CallContext,
};

/// Channels to the other services of the suite, by kebab name. Cheap to clone.
#[derive(Clone, Default)]
pub struct ServiceClients(Arc<BTreeMap<String, Pair>>);

struct Pair {
    calls: ServiceChannel,
    streams: ServiceChannel,
}

impl ServiceClients {
    /// Opens two channels to each, lazily: one for calls, one for streams, which would block calls by flow control.
    pub fn connect(
        builder: &ClientBuilder,
        targets: impl IntoIterator<Item = (String, Target)>,
    ) -> Result<Self, ClientError> {
        let mut clients = BTreeMap::new();
        for (name, target) in targets {
            let pair = Pair {
                calls: builder.channel(&name, target.clone())?,
                streams: builder.channel(&name, target)?,
            };
            clients.insert(name, pair);
        }
        Ok(Self(Arc::new(clients)))
    }

    /// The channel for unary calls: `MemberServiceClient::new(clients.client("membership")?)`.
    pub fn client(&self, name: &str) -> Result<ServiceChannel, PeerMissing> {
        self.0
            .get(name)
            .map(|pair| pair.calls.clone())
            .ok_or_else(|| PeerMissing(name.to_owned()))
    }

    /// The channel for long streams, feeds above all.
    pub fn watch(&self, name: &str) -> Result<ServiceChannel, PeerMissing> {
        self.0
            .get(name)
            .map(|pair| pair.streams.clone())
            .ok_or_else(|| PeerMissing(name.to_owned()))
    }
}

/// The configuration names no address for a service that another one calls.
#[derive(Debug, Clone)]
pub struct PeerMissing(String);

impl fmt::Display for PeerMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let section = self.0.replace('-', "_");
        write!(
            f,
            "no address of the service `{}`: set `{section}.address`",
            self.0
        )
    }
}

impl std::error::Error for PeerMissing {}

/// The trace id of the call that is being served, for what is written down about it.
#[must_use]
pub fn current_trace_id() -> Option<String> {
    CallContext::current().trace.map(|trace| trace.to_string())
}
