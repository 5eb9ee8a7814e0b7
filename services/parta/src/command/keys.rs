use std::path::PathBuf;

use clap::Subcommand;
use parta_ids::Env;
use parta_runtime::Rotation;
use serde_json::json;

use super::Common;
use crate::output::Failure;

#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Makes what a folder of keys lacks; `parta serve` does so by itself.
    Make {
        /// The folder.
        #[arg(long, default_value = "data/keys")]
        folder: PathBuf,
    },
    /// Changes the key that signs tokens, in two steps with a restart of membership and ten minutes between them.
    Rotate {
        /// The folder.
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
                output.line(format!("the keys lie in {}", folder.display()));
                output.document(&json!({"folder": folder}));
            }
            Self::Rotate { folder } => {
                let (step, next) = match parta_runtime::rotate_signing_key(&folder, &env)? {
                    Rotation::Prepared => (
                        "PREPARED",
                        "the next key is made: restart membership, wait ten minutes, and rotate again",
                    ),
                    Rotation::Switched => ("SWITCHED", "the next key signs once membership is restarted"),
                };
                output.line(next);
                output.document(&json!({"step": step}));
            }
        }
        Ok(())
    }
}
