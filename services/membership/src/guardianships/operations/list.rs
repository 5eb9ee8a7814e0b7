use std::collections::BTreeSet;

use parta_access::authorize;
use parta_edge::{Page, PageRequest, Query, Read};
use parta_ids::{MemberId, OrgId};

use super::led_units;
use crate::{
    context::{Context, Run},
    error::Error,
    guardianships::{model::GuardianshipView, policy, storage},
};

/// Lists the relations that the caller may see and that have not ended, or that an order has ended.
#[derive(Debug)]
pub(crate) struct ListGuardianships {
    pub(crate) org_id: OrgId,
    /// Only those of this child.
    pub(crate) child_id: Option<MemberId>,
    /// Only those that wait for a decision.
    pub(crate) pending_only: bool,
    pub(crate) page: PageRequest,
}

impl Query for ListGuardianships {
    type Context = Context;
    type View = Page<GuardianshipView>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<GuardianshipView>>, Error> {
        let Run { context, tx, caller } = run;
        let org = self.org_id;
        let facts = context.facts(tx, caller, org).await?;
        let scope = authorize(caller, org, policy::read(&facts))?;
        let visible = if facts.is_administration() {
            storage::Visible::All
        } else {
            let mut children = BTreeSet::new();
            let led = context.roster.home_units(tx, org, &led_units(&facts)).await?;
            for unit in led {
                children.extend(context.roster.members_of_unit(tx, org, unit).await?);
            }
            storage::Visible::Of(facts.member_id, children)
        };
        let filter = storage::Filter {
            visible: &visible,
            child: self.child_id,
            pending_only: self.pending_only,
        };
        let after = self.page.after(tx, caller)?;
        let rows = storage::list(tx, &scope, &filter, after, self.page.limit()).await?;
        let page = self.page.page(tx, caller, rows, |row| row.id);
        let children = page.items.iter().map(|row| row.child_id).collect();
        let limits = storage::limits::list_of_children(tx, &scope, &children).await?;
        let view = |row: super::Guardianship| {
            let in_force = limits
                .get(&(row.guardian_id, row.child_id))
                .cloned()
                .unwrap_or_default();
            GuardianshipView {
                awaits_head: in_force.awaits_head(tx.now()),
                row,
                in_force,
            }
        };
        let page = page.map(view);
        Ok(if facts.is_staff() {
            Read::audited(page, org, "guardianships")
        } else {
            Read::plain(page)
        })
    }
}
