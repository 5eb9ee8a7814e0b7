//! Converts orders from and to protobuf.
use parta_proto_membership::v1 as pb;
use parta_status::{FieldViolations, field};

use super::model::Order;

/// Decodes the field `order`. Its absence is no violation, because only the act knows whether it needs one.
pub(crate) fn decode(v: &mut FieldViolations, order: Option<&pb::Order>) -> Option<Order> {
    let order = order?;
    let number = field::text(v, "order.number", &order.number, 1..=100, false);
    let date = field::date(v, "order.date", &order.date);
    let text = field::text(v, "order.text", &order.text, 1..=2_000, true);
    Some(Order {
        number,
        date: date?,
        text,
    })
}

pub(crate) fn to_proto(order: &Order) -> pb::Order {
    pb::Order {
        number: order.number.clone(),
        date: order.date.to_string(),
        text: order.text.clone(),
    }
}
