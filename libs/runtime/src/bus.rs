//! The live bus of this process.
use std::sync::Arc;

use anyhow::Context as _;
use parta_feed::{Bus, LocalBus, NatsBus, NatsConfig};

use crate::{config::BusSettings, read_authority};

/// Opens the bus. `name` identifies the connection in NATS.
pub(crate) async fn open(settings: &BusSettings, name: &str) -> anyhow::Result<Arc<dyn Bus>> {
    let Some(url) = &settings.url else {
        return Ok(Arc::new(LocalBus::single_replica()));
    };
    // The client reads the file at each attempt to connect, and would try without an end.
    if let Some(file) = &settings.ca_file {
        read_authority(file).context("bus.ca_file")?;
    }
    let nats = NatsConfig {
        servers: vec![url.clone()],
        user: settings.user.clone(),
        password: settings.password.clone(),
        nkey_seed: settings.nkey_seed.clone(),
        ca_file: settings.ca_file.clone(),
    };
    Ok(Arc::new(NatsBus::connect(&nats, name).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client would try to connect without an end.
    #[test]
    fn unusable_authority_is_refused_at_the_start() {
        parta_testkit::run(async {
            let folder = tempfile::tempdir().unwrap();
            let empty = folder.path().join("empty.crt");
            std::fs::write(&empty, "").unwrap();
            for file in [empty, folder.path().join("nowhere.crt")] {
                let settings = BusSettings {
                    url: Some("tls://nats:4222".to_owned()),
                    ca_file: Some(file.clone()),
                    ..BusSettings::default()
                };
                let error = format!("{:#}", open(&settings, "test").await.err().unwrap());
                let named = file.display().to_string();
                assert!(error.contains("bus.ca_file") && error.contains(&named), "{error}");
            }
        });
    }
}
