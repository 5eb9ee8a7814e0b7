use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    client::{ClientBuilder, ClientError, ServiceChannel, Target},
    context::CallContext,
};

/// Channels to the other services of Parta, by kebab-case name. Cheap to clone.
#[derive(Clone, Default)]
pub struct ServiceClients(Arc<BTreeMap<String, Pair>>);

struct Pair {
    calls: ServiceChannel,
    streams: ServiceChannel,
}

impl ServiceClients {
    /// Opens two channels to each service lazily: one for calls and one for streams, whose flow control would
    /// block calls.
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

    /// Returns the channel for unary calls: `MemberServiceClient::new(clients.client("membership")?)`.
    pub fn client(&self, name: &str) -> Result<ServiceChannel, PeerMissing> {
        self.0
            .get(name)
            .map(|pair| pair.calls.clone())
            .ok_or_else(|| PeerMissing(name.to_owned()))
    }

    /// Returns the channel for long-lived streams, such as feeds.
    pub fn watch(&self, name: &str) -> Result<ServiceChannel, PeerMissing> {
        self.0
            .get(name)
            .map(|pair| pair.streams.clone())
            .ok_or_else(|| PeerMissing(name.to_owned()))
    }
}

/// The configuration contains no address of a service that another service calls.
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

/// Returns the trace id of the call being served, for records about it.
#[must_use]
pub fn current_trace_id() -> Option<String> {
    CallContext::current().trace.map(|trace| trace.to_string())
}
