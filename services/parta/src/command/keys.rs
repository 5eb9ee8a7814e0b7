use std::path::PathBuf;

use clap::Subcommand;
use parta_ids::Env;
use parta_runtime::Rotation;
use serde_json::json;

use super::Common;
use crate::output::Failure;

#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Creates the keys that a folder lacks. `parta serve` does so by itself.
    Make {
        /// Folder of the keys.
        #[arg(long, default_value = "data/keys")]
        folder: PathBuf,
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
            Self::Make { folder } => {
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
