use parta_access::{LinkDigest, SignedToken};
use parta_edge::{Mutation, Stored};
use parta_ids::{AccountId, FlowId, SessionId};
use serde::{Deserialize, Serialize};

use crate::{
    admission::{secret, storage},
    context::{Context, Run},
    error::Error,
    sessions,
};

/// Makes a ticket by which the caller may accept one invitation.
pub(crate) struct CreateJoinTicket {
    /// The link, as its token or its typed code says it.
    pub(crate) link: LinkDigest,
}

/// The outcome of CreateJoinTicket.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Created {
    flow_id: FlowId,
}

impl Stored for Created {}

/// A ticket of a join flow, signed for each response.
#[derive(Debug)]
pub(crate) struct JoinTicket {
    pub(crate) flow_id: FlowId,
    pub(crate) ticket: SignedToken,
}

impl Mutation for CreateJoinTicket {
    type Context = Context;
    /// The account, and the session to which the ticket belongs.
    type Grant = (AccountId, SessionId);
    type Outcome = Created;
    type View = JoinTicket;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<(AccountId, SessionId), Error> {
        sessions::signed_in(run.tx, run.caller).await
    }

    async fn act(&self, run: Run<'_>, (account, _): &(AccountId, SessionId)) -> Result<Created, Error> {
        let Run { context, tx, caller } = run;
        let flow_id = secret::join_flow(&context.secrets, *account, &self.link);
        storage::insert_join_flow(tx, flow_id, *account, tx.now()).await?;
        parta_audit::record(tx, caller, None, format!("joinFlows/{flow_id}")).await?;
        Ok(Created { flow_id })
    }

    async fn view(
        &self,
        run: Run<'_>,
        (_, session): &(AccountId, SessionId),
        outcome: &Created,
    ) -> Result<JoinTicket, Error> {
        let flow_id = outcome.flow_id;
        let session = sessions::joining_session(&run.context.secrets, *session);
        Ok(JoinTicket {
            flow_id,
            ticket: Context::signed(run.context.issuer.joiner(flow_id, self.link, session))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let created = Created {
            flow_id: FlowId::from_uuid(Uuid::from_u128(1)),
        };
        let form = format!("\u{1}{{\"flow_id\":\"{}\"}}", created.flow_id);
        let stored = created.encode().unwrap();
        assert_eq!(stored, form.as_bytes());
        assert_eq!(Created::decode(&stored).unwrap(), created);
    }
}
