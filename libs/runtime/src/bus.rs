//! The live bus of this process.
use std::sync::Arc;

use parta_feed::{Bus, LocalBus, NatsBus, NatsConfig};

use crate::config::BusSettings;

/// Opens the bus. `name` identifies the connection in NATS.
pub(crate) async fn open(settings: &BusSettings, name: &str) -> anyhow::Result<Arc<dyn Bus>> {
    let Some(url) = &settings.url else {
        return Ok(Arc::new(LocalBus::single_replica()));
    };
    let nats = NatsConfig {
        servers: vec![url.clone()],
        user: settings.user.clone(),
        password: settings.password.clone(),
        nkey_seed: settings.nkey_seed.clone(),
        ca_file: settings.ca_file.clone(),
    };
    Ok(Arc::new(NatsBus::connect(&nats, name).await?))
}
