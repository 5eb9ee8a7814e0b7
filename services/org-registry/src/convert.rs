//! Between messages and model.

use std::{fmt::Display, str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use parta_contacts::{EmailAddress, PhoneNumber};
use parta_proto::parta::org_registry::v1::{
    self as pb, OrganizationKind, ParentInviters, TeacherVerification, UnitKind,
};
use parta_roster::Policies;
use parta_status::{FieldViolations, RpcError, field};
use parta_storage::etag;

use crate::{
    applications::model::{self, Application, Form, Organization, Step, Unit},
    organizations::operations::Update,
};

pub(crate) fn timestamp(time: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0),
    }
}

pub(crate) fn application(from: &Application, steps: &[Step]) -> pb::Application {
    pb::Application {
        id: from.id.to_string(),
        state: from.state.into(),
        form: Some(pb::ApplicationForm {
            organization_name: from.form.organization_name.clone(),
            kind: from.form.kind.into(),
            region: from.form.region.clone(),
            ogrn: from.form.ogrn.clone(),
            kpp: from.form.kpp.clone(),
            time_zone: from.form.time_zone.clone(),
            head_full_name: from.form.head_full_name.clone(),
            administrator_full_name: from.form.administrator_full_name.clone(),
            administrator_email: from.form.administrator_email.clone(),
            administrator_phone: from.form.administrator_phone.clone(),
        }),
        order: Some(pb::OrderDocument {
            file_name: from.order.file_name.clone(),
            content_type: from.order.content_type.to_owned(),
            size_bytes: from.order.size_bytes,
            sha256: from.order.sha256.clone(),
        }),
        org_id: from.org_id.map(|id| id.to_string()).unwrap_or_default(),
        changes: steps
            .iter()
            .map(|step| pb::ApplicationChange {
                state: step.state.into(),
                actor: step.actor.clone(),
                reason: step.reason.clone(),
                change_time: Some(timestamp(step.change_time)),
            })
            .collect(),
        create_time: Some(timestamp(from.create_time)),
        etag: etag(from.revision),
    }
}

pub(crate) fn organization(from: &Organization) -> pb::Organization {
    pb::Organization {
        id: from.id.to_string(),
        display_name: from.display_name.clone(),
        kind: from.kind.into(),
        region: from.region.clone(),
        time_zone: from.time_zone.clone(),
        ogrn: from.ogrn.clone(),
        kpp: from.kpp.clone(),
        head_full_name: from.head_full_name.clone(),
        policies: Some(policies(&from.policies, from.policies_version)),
        create_time: Some(timestamp(from.create_time)),
        update_time: Some(timestamp(from.update_time)),
        etag: etag(from.revision),
    }
}

pub(crate) fn policies(from: &Policies, version: i64) -> pb::Policies {
    let verification = if from.verification_required {
        TeacherVerification::Required
    } else {
        TeacherVerification::Optional
    };
    let inviters = if from.parent_inviters_class_staff {
        ParentInviters::ClassStaff
    } else {
        ParentInviters::ClassTeacher
    };
    pb::Policies {
        teacher_verification: verification.into(),
        parent_inviters: inviters.into(),
        school_channel_open_to_families: from.school_channel_open_to_families,
        unused_after: prost_types::Duration::try_from(from.unused_after).ok(),
        version,
    }
}

pub(crate) fn unit(from: &Unit) -> pb::Unit {
    pb::Unit {
        id: from.id.to_string(),
        org_id: from.org_id.to_string(),
        kind: from.kind.into(),
        label: from.label.clone(),
        create_time: Some(timestamp(from.create_time)),
        archive_time: from.archive_time.map(timestamp),
        etag: etag(from.revision),
    }
}

/// Checks a form; every fault is named.
pub(crate) fn form(v: &mut FieldViolations, from: &pb::ApplicationForm) -> Form {
    let at = |name: &str| format!("header.form.{name}");
    let phone = contact::<PhoneNumber>(v, at("administrator_phone"), &from.administrator_phone);
    let email = contact::<EmailAddress>(v, at("administrator_email"), &from.administrator_email);
    v.check(
        from.kind() != OrganizationKind::Unspecified,
        at("kind"),
        "must be one of the kinds",
    );
    v.check(
        model::is_ogrn(&from.ogrn),
        at("ogrn"),
        "must be 13 digits with a right check digit",
    );
    v.check(model::is_kpp(&from.kpp), at("kpp"), "must be 9 characters of КПП");
    time_zone(v, &at("time_zone"), &from.time_zone);
    Form {
        organization_name: field::text(
            v,
            &at("organization_name"),
            &from.organization_name,
            1..=200,
            false,
        ),
        kind: from.kind(),
        region: field::text(v, &at("region"), &from.region, 1..=200, false),
        ogrn: from.ogrn.clone(),
        kpp: from.kpp.clone(),
        time_zone: from.time_zone.clone(),
        head_full_name: field::text(v, &at("head_full_name"), &from.head_full_name, 1..=200, false),
        administrator_full_name: field::text(
            v,
            &at("administrator_full_name"),
            &from.administrator_full_name,
            1..=200,
            false,
        ),
        administrator_email: email,
        administrator_phone: phone,
    }
}

/// The contact in its one form; empty where it was refused.
fn contact<C>(v: &mut FieldViolations, path: String, value: &str) -> String
where
    C: FromStr<Err: Display> + Display,
{
    match value.parse::<C>() {
        Ok(contact) => contact.to_string(),
        Err(error) => {
            v.check(false, path, error.to_string());
            String::new()
        }
    }
}

fn time_zone(v: &mut FieldViolations, path: &str, value: &str) {
    v.check(
        value.parse::<chrono_tz::Tz>().is_ok(),
        path,
        "must be an IANA time zone, for example Europe/Moscow",
    );
}

/// The fields that the mask names, checked.
pub(crate) fn update(from: &pb::UpdateOrganizationRequest) -> Result<Update, RpcError> {
    let mut v = FieldViolations::default();
    let mut update = Update::default();
    let none = pb::Organization::default();
    let values = from.organization.as_ref().unwrap_or(&none);
    v.check(from.organization.is_some(), "organization", "is required");
    let paths = from.update_mask.as_ref().map_or(&[][..], |mask| &mask.paths);
    v.check(!paths.is_empty(), "update_mask", "must name the fields to change");
    for path in paths {
        match path.as_str() {
            "display_name" => {
                let text = field::text(
                    &mut v,
                    "organization.display_name",
                    &values.display_name,
                    1..=200,
                    false,
                );
                update.display_name = Some(text);
            }
            "region" => {
                update.region = Some(field::text(
                    &mut v,
                    "organization.region",
                    &values.region,
                    1..=200,
                    false,
                ));
            }
            "time_zone" => {
                time_zone(&mut v, "organization.time_zone", &values.time_zone);
                update.time_zone = Some(values.time_zone.clone());
            }
            _ => v.add("update_mask", "names a field that cannot be changed"),
        }
    }
    v.finish()?;
    Ok(update)
}

/// All policies, checked.
pub(crate) fn policies_in(from: Option<&pb::Policies>) -> Result<Policies, RpcError> {
    let mut v = FieldViolations::default();
    let none = pb::Policies::default();
    v.check(from.is_some(), "policies", "is required");
    let from = from.unwrap_or(&none);
    v.check(
        from.teacher_verification() != TeacherVerification::Unspecified,
        "policies.teacher_verification",
        "must be REQUIRED or OPTIONAL",
    );
    v.check(
        from.parent_inviters() != ParentInviters::Unspecified,
        "policies.parent_inviters",
        "must be CLASS_TEACHER or CLASS_STAFF",
    );
    // The conversion overflows on what is far out of range.
    let sane = |span: &prost_types::Duration| span.seconds >= 0 && (0..1_000_000_000).contains(&span.nanos);
    let span = from.unused_after.filter(sane);
    let span = span.and_then(|span| Duration::try_from(span).ok());
    let (hour, year) = (Duration::from_secs(3_600), Duration::from_secs(365 * 24 * 3_600));
    v.check(
        span.is_some_and(|span| (hour..=year).contains(&span)),
        "policies.unused_after",
        "must be 1 hour to 365 days",
    );
    v.finish()?;
    Ok(Policies {
        verification_required: from.teacher_verification() == TeacherVerification::Required,
        parent_inviters_class_staff: from.parent_inviters() == ParentInviters::ClassStaff,
        school_channel_open_to_families: from.school_channel_open_to_families,
        // Whole seconds are kept.
        unused_after: Duration::from_secs(span.unwrap_or_default().as_secs()),
    })
}

/// The kind of a unit that people make.
pub(crate) fn made_kind(v: &mut FieldViolations, value: i32) -> UnitKind {
    let kind = UnitKind::try_from(value).unwrap_or_default();
    let makeable = matches!(kind, UnitKind::Class | UnitKind::Group | UnitKind::Department);
    v.check(makeable, "kind", "must be CLASS, GROUP or DEPARTMENT");
    kind
}
