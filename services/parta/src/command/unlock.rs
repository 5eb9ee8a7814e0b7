//! `parta unlock`: lifts the lock of an address that wrong codes have locked.
use clap::Args;
use parta_proto_membership::v1 as pb;

use super::Common;
use crate::output::{Failure, json as to_json};

#[derive(Debug, Args)]
pub struct Unlock {
    /// Phone number in international form.
    #[arg(long, required_unless_present = "email", conflicts_with = "email")]
    phone: Option<String>,
    /// E-mail address.
    #[arg(long)]
    email: Option<String>,
}

impl Unlock {
    pub(super) async fn run(self, common: &Common) -> Result<(), Failure> {
        let (session, output) = (common.operator()?, common.print());
        let request = pb::UnlockSignInRequest {
            request_id: session.act(),
            phone: self.phone.unwrap_or_default(),
            email: self.email.unwrap_or_default(),
        };
        let response = session.operators().unlock_sign_in(request).await?.into_inner();
        output.line(if response.was_locked {
            "the lock is lifted"
        } else {
            "the address was not locked"
        });
        output.document(&to_json("parta.membership.v1.UnlockSignInResponse", &response)?);
        Ok(())
    }
}
