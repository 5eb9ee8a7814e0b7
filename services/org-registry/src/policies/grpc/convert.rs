//! Converts policies and their changes from and to protobuf.
use std::{collections::BTreeSet, time::Duration};

use chrono::NaiveDate;
use parta_proto::{elapsed, timestamp};
use parta_proto_org_registry::v1::{self as pb, ParentInviters, TeacherVerification};
use parta_roster::HistoryForNewcomers;
use parta_status::{FieldViolations, field};
use prost_types::FieldMask;

use super::super::{
    model::{ChangeState, Effect, Order, PolicyPath, PolicyValue, ValueChange},
    operations::ShownChange,
};

/// The shortest and the longest `unused_after`.
const UNUSED_AFTER_MIN: Duration = Duration::from_hours(1);
const UNUSED_AFTER_MAX: Duration = Duration::from_hours(365 * 24);

/// Decodes the policies that the mask names, each once.
fn paths(v: &mut FieldViolations, mask: Option<&FieldMask>) -> BTreeSet<PolicyPath> {
    let named = mask.map_or(&[][..], |mask| &mask.paths);
    v.check(
        !named.is_empty(),
        "update_mask",
        "must name the policies to change",
    );
    let mut paths = BTreeSet::new();
    for (index, name) in named.iter().enumerate() {
        let field = format!("update_mask.paths[{index}]");
        match PolicyPath::from_name(name) {
            Some(path) => v.check(paths.insert(path), field, "names a policy twice"),
            None => v.add(field, "names no policy"),
        }
    }
    paths
}

fn unused_after(from: &pb::Policies) -> Option<Duration> {
    let duration = from.unused_after.as_ref().and_then(elapsed)?;
    let is_in_range = (UNUSED_AFTER_MIN..=UNUSED_AFTER_MAX).contains(&duration);
    // The database stores whole seconds.
    is_in_range.then(|| Duration::from_secs(duration.as_secs()))
}

fn value_of(path: PolicyPath, from: &pb::Policies) -> Result<PolicyValue, &'static str> {
    match path {
        PolicyPath::HistoryForNewcomers => HistoryForNewcomers::from_number(from.history_for_newcomers)
            .map(PolicyValue::HistoryForNewcomers)
            .ok_or("must be FROM_ENROLLMENT, FROM_JOINING or WHOLE"),
        PolicyPath::ParentInviters => match from.parent_inviters() {
            ParentInviters::ClassStaff => Ok(true),
            ParentInviters::ClassTeacher => Ok(false),
            ParentInviters::Unspecified => Err("must be CLASS_TEACHER or CLASS_STAFF"),
        }
        .map(|class_staff| PolicyValue::ParentInviters { class_staff }),
        PolicyPath::SchoolChannelOpenToFamilies => Ok(PolicyValue::SchoolChannelOpenToFamilies(
            from.school_channel_open_to_families,
        )),
        PolicyPath::TeacherVerification => match from.teacher_verification() {
            TeacherVerification::Required => Ok(true),
            TeacherVerification::Optional => Ok(false),
            TeacherVerification::Unspecified => Err("must be REQUIRED or OPTIONAL"),
        }
        .map(|required| PolicyValue::TeacherVerification { required }),
        PolicyPath::UnusedAfter => unused_after(from)
            .map(PolicyValue::UnusedAfter)
            .ok_or("must be 1 hour to 365 days"),
    }
}

/// Decodes the values of the policies that the mask names, each at most once.
pub(super) fn wanted(
    v: &mut FieldViolations,
    from: Option<&pb::Policies>,
    mask: Option<&FieldMask>,
) -> Vec<PolicyValue> {
    v.check(from.is_some(), "policies", "is required");
    let mut wanted = Vec::new();
    for path in paths(v, mask) {
        match from.map(|from| value_of(path, from)) {
            Some(Ok(value)) => wanted.push(value),
            Some(Err(rule)) => v.add(format!("policies.{}", path.name()), rule),
            None => {}
        }
    }
    wanted
}

/// Decodes the etag of a preview.
pub(super) fn preview_etag(v: &mut FieldViolations, from: &str) -> String {
    v.check(!from.is_empty(), "preview_etag", "is required");
    from.to_owned()
}

pub(super) fn order(v: &mut FieldViolations, from: &pb::Order) -> Option<Order> {
    let number = field::text(v, "order.number", &from.number, 1..=100, false);
    let text = field::text(v, "order.text", &from.text, 1..=2_000, true);
    let date = (from.date.len() == 10).then(|| from.date.parse().ok()).flatten();
    let date = date.filter(|date| Some(*date) >= NaiveDate::from_ymd_opt(1900, 1, 1));
    let rule = "must be a day since 1900 in the form 2026-09-01";
    v.check(date.is_some(), "order.date", rule);
    Some(Order {
        number,
        date: date?,
        text,
    })
}

pub(super) fn value(from: &ValueChange) -> pb::PolicyValueChange {
    let effect = match from.effect() {
        Effect::Narrows => pb::PolicyEffect::Narrows,
        Effect::Widens => pb::PolicyEffect::Widens,
        Effect::Neutral => pb::PolicyEffect::Neutral,
    };
    pb::PolicyValueChange {
        path: from.path().name().to_owned(),
        before: from.before.text(),
        after: from.after.text(),
        effect: effect.into(),
        needs_second_person: from.needs_second_person(),
    }
}

pub(super) fn to_proto(shown: &ShownChange) -> pb::PolicyChange {
    let from = &shown.change;
    let state = match from.state() {
        ChangeState::Pending => pb::PolicyChangeState::Pending,
        ChangeState::Applied => pb::PolicyChangeState::Applied,
        ChangeState::Dropped => pb::PolicyChangeState::Dropped,
    };
    pb::PolicyChange {
        id: from.id.to_string(),
        org_id: from.org_id.to_string(),
        state: state.into(),
        values: from.values.iter().map(value).collect(),
        author_id: from.author_id.to_string(),
        create_time: Some(timestamp(from.create_time)),
        confirm_time: from.confirm_time.map(timestamp),
        confirmer_id: parta_ids::optional_text(from.confirmer_id),
        order: from.order.as_ref().map(|order| pb::Order {
            number: order.number.clone(),
            date: order.date.to_string(),
            text: order.text.clone(),
        }),
        drop_time: from.drop_time.map(timestamp),
        dropper_id: parta_ids::optional_text(from.dropper_id),
        policies_version: from.policies_version.unwrap_or_default(),
        preview_etag: shown.preview_etag.clone(),
    }
}
