use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::Subcommand;
use parta_ids::Env;
use parta_runtime::{Rotation, Service};
use serde_json::json;

use super::Common;
use crate::output::{Failure, Format, Output};

#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Creates the keys that a folder lacks. `parta serve` does so by itself.
    Make {
        /// Folder of the keys.
        #[arg(long, default_value = "data/keys")]
        folder: PathBuf,
        /// Prints one Secret per service for `kubectl apply -f -`. Each has the keys that the service needs
        /// and no other; the operator's key stays in the folder.
        #[arg(long)]
        kubernetes: bool,
    },
    /// Rotates the key that signs tokens. Run it twice: restart membership after each run, and wait ten
    /// minutes between the runs.
    Rotate {
        /// Folder of the keys.
        #[arg(long, default_value = "data/keys")]
        folder: PathBuf,
    },
}

impl Keys {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let (output, env) = (common.print(), Env::system());
        match self {
            Self::Make {
                folder,
                kubernetes: true,
            } => {
                parta_runtime::make_keys(&crate::SERVICES, &folder, &env)?;
                let secrets = crate::SERVICES.iter().map(|service| secret(&folder, service));
                let secrets = secrets.collect::<anyhow::Result<Vec<_>>>()?;
                let list = json!({"apiVersion": "v1", "kind": "List", "items": secrets});
                Output(Format::Json).document(&list);
            }
            Self::Make {
                folder,
                kubernetes: false,
            } => {
                parta_runtime::make_keys(&crate::SERVICES, &folder, &env)?;
                output.line(format!("the keys are in {}", folder.display()));
                output.document(&json!({"folder": folder}));
            }
            Self::Rotate { folder } => {
                let (step, next) = match parta_runtime::rotate_signing_key(&folder, &env)? {
                    Rotation::Prepared => (
                        "PREPARED",
                        "the next key was created: restart membership, wait ten minutes, and rotate again",
                    ),
                    Rotation::Switched => ("SWITCHED", "restart membership: it then signs with the next key"),
                };
                output.line(next);
                output.document(&json!({"step": step}));
            }
        }
        Ok(())
    }
}

/// The Secret that the chart mounts for a service.
fn secret(folder: &Path, service: &Service) -> anyhow::Result<serde_json::Value> {
    let files = parta_runtime::key_files(folder, service, &crate::SERVICES)?;
    // With `stringData`, a file that a later list lacks, such as the key of a rotation, would stay in the
    // Secret.
    let data: BTreeMap<_, _> = files
        .into_iter()
        .map(|(name, text)| (name, BASE64_STANDARD.encode(text)))
        .collect();
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": format!("parta-keys-{}", service.name),
            "labels": {"app.kubernetes.io/name": service.name, "app.kubernetes.io/part-of": "parta"},
        },
        "data": data,
    }))
}
