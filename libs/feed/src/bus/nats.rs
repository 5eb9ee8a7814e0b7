use std::{path::PathBuf, time::Duration};

use async_nats::{ConnectOptions, connection::State};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Bus, BusError};

/// The configuration of the NATS client.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NatsConfig {
    /// `nats://` or `tls://` addresses.
    pub servers: Vec<String>,
    /// The user name, if the server requires a password.
    pub user: Option<String>,
    /// The password.
    pub password: Option<SecretString>,
    /// The seed of the key pair, if the server requires one.
    pub nkey_seed: Option<SecretString>,
    /// Certificate authorities to trust in addition to those of the system.
    pub ca_file: Option<PathBuf>,
}

/// Time limit of publishing and subscribing.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The bus of a cluster, over NATS core publish and subscribe. It reconnects indefinitely; messages published
/// while it is disconnected are lost.
#[derive(Clone)]
pub struct NatsBus(async_nats::Client);

impl NatsBus {
    /// Starts to connect. An unavailable server is not an error.
    pub async fn connect(config: &NatsConfig, name: &str) -> Result<Self, BusError> {
        let mut options = match (&config.nkey_seed, &config.user, &config.password) {
            (Some(seed), _, _) => ConnectOptions::with_nkey(seed.expose_secret().to_owned()),
            (None, Some(user), Some(password)) => {
                ConnectOptions::with_user_and_password(user.clone(), password.expose_secret().to_owned())
            }
            (None, None, None) => ConnectOptions::new(),
            _ => return Err(BusError("user and password must be set together".into())),
        };
        options = options
            .name(name)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .ping_interval(TIMEOUT * 10);
        if let Some(file) = &config.ca_file {
            options = options.add_root_certificates(file.clone()).require_tls(true);
        }
        let client = options
            .connect(config.servers.as_slice())
            .await
            .map_err(|e| BusError(e.to_string()))?;
        Ok(Self(client))
    }

    /// Returns whether the client is connected.
    pub fn is_connected(&self) -> bool {
        self.0.connection_state() == State::Connected
    }
}

#[async_trait]
impl Bus for NatsBus {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError> {
        // Without this check, the client would queue messages until it reconnects, and block when the queue
        // is full.
        if !self.is_connected() {
            return Err(BusError("not connected".into()));
        }
        match tokio::time::timeout(TIMEOUT, self.0.publish(subject.to_owned(), payload)).await {
            Ok(sent) => sent.map_err(|e| BusError(e.to_string())),
            Err(_) => Err(BusError("timed out".into())),
        }
    }

    async fn subscribe(&self, subject: &str) -> Result<BoxStream<'static, Bytes>, BusError> {
        let subscribed = tokio::time::timeout(TIMEOUT, self.0.subscribe(subject.to_owned())).await;
        let subscriber = subscribed
            .map_err(|_| BusError("timed out".into()))?
            .map_err(|e| BusError(e.to_string()))?;
        Ok(subscriber.map(|message| message.payload).boxed())
    }
}
