use parta_database::Tx;
use parta_ids::OrgId;
use parta_roster::Roster;
use parta_status::invalid;

use super::Order;
use crate::{endings::today, error::Error};

/// Refuses an order whose date has not come.
pub(crate) async fn check(roster: &Roster, tx: &Tx, org: OrgId, order: &Order) -> Result<(), Error> {
    if order.date > today(roster, tx, org).await? {
        return Err(invalid("order.date", "must not be in the future").into());
    }
    Ok(())
}

/// Returns the order of an act that always rests on one. Refuses if it is missing or its date has not come.
pub(crate) async fn require<'a>(
    roster: &Roster,
    tx: &Tx,
    org: OrgId,
    order: Option<&'a Order>,
) -> Result<&'a Order, Error> {
    let order = order.ok_or_else(Error::order_required)?;
    check(roster, tx, org, order).await?;
    Ok(order)
}
