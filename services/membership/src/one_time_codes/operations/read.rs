use parta_access::authorize;
use parta_edge::{Query, Read};
use parta_ids::{MemberId, OrgId};

use super::{KIND, home_units, member_facts};
use crate::{
    context::{Context, Run},
    error::Error,
    one_time_codes::{model::OneTimeCode, policy, storage},
};

/// Returns the latest code of a member without its text.
#[derive(Debug)]
pub(crate) struct GetOneTimeCode {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
}

impl Query for GetOneTimeCode {
    type Context = Context;
    type View = OneTimeCode;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<OneTimeCode>, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.facts(tx, caller, self.org_id).await?;
        let member = member_facts(context, tx, self.org_id, self.member_id).await?;
        let home = home_units(context, tx, &member).await?;
        let scope = authorize(caller, self.org_id, policy::read(&facts, &member, &home))?;
        let code = storage::find(tx, &scope, self.member_id).await?;
        Ok(Read::plain(
            code.ok_or_else(|| Error::unknown(KIND, self.member_id))?,
        ))
    }
}
