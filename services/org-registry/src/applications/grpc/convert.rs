//! Converts applications from and to protobuf.
use std::{fmt::Display, str::FromStr};

use parta_contacts::{EmailAddress, PhoneNumber};
use parta_ids::optional_text;
use parta_mutations::etag;
use parta_proto::timestamp;
use parta_proto_org_registry::v1 as pb;
use parta_status::{FieldViolations, field};

use super::{
    super::{
        model::{Application, ApplicationHistory, ContentType, Form, Order, StateChange, is_kpp, is_ogrn},
        operations::SubmitApplication,
    },
    upload::Document,
};
use crate::organizations::{OrganizationKind, time_zone};

pub(super) fn history(from: &ApplicationHistory) -> pb::Application {
    pb::Application {
        changes: from.changes.iter().map(change).collect(),
        ..application(&from.application)
    }
}

fn change(step: &StateChange) -> pb::ApplicationChange {
    pb::ApplicationChange {
        state: step.state.number(),
        actor: step.actor.clone(),
        reason: step.reason.clone(),
        change_time: Some(timestamp(step.change_time)),
    }
}

/// Encodes an application without its history.
pub(super) fn application(from: &Application) -> pb::Application {
    pb::Application {
        id: from.id.to_string(),
        state: from.state.number(),
        form: Some(pb::ApplicationForm {
            organization_name: from.form.organization_name.clone(),
            kind: from.form.kind.number(),
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
            content_type: from.order.content_type.text().to_owned(),
            size_bytes: from.order.size_bytes,
            sha256: from.order.sha256.clone(),
        }),
        org_id: optional_text(from.org_id),
        changes: Vec::new(),
        create_time: Some(timestamp(from.create_time)),
        etag: etag(from.revision),
    }
}

/// Decodes an application with its order.
pub(super) fn submission(
    v: &mut FieldViolations,
    header: &pb::SubmitApplicationHeader,
    document: Document,
) -> Option<SubmitApplication> {
    let none = pb::ApplicationForm::default();
    let form = form(v, header.form.as_ref().unwrap_or(&none));
    let file_name = field::name(v, "header.file_name", &header.file_name, 1..=255);
    let content_type = ContentType::of(&document.bytes);
    v.check(
        content_type.is_some(),
        "chunk",
        "the document must be a PDF, JPEG or PNG",
    );
    let order = Order {
        file_name,
        content_type: content_type?,
        size_bytes: i64::try_from(document.bytes.len()).ok()?,
        sha256: hex(&document.sha256),
    };
    Some(SubmitApplication {
        form: form?,
        order,
        document: document.bytes,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Decodes a form and reports every invalid field.
fn form(v: &mut FieldViolations, from: &pb::ApplicationForm) -> Option<Form> {
    let path = |name: &str| format!("header.form.{name}");
    let phone = contact::<PhoneNumber>(v, path("administrator_phone"), &from.administrator_phone);
    let email = contact::<EmailAddress>(v, path("administrator_email"), &from.administrator_email);
    let kind = OrganizationKind::from_number(from.kind);
    v.check(kind.is_some(), path("kind"), "must be one of the kinds");
    v.check(
        is_ogrn(&from.ogrn),
        path("ogrn"),
        "must be 13 digits with a right check digit",
    );
    v.check(is_kpp(&from.kpp), path("kpp"), "must be 9 characters of КПП");
    time_zone(v, &path("time_zone"), &from.time_zone);
    let mut name = |field: &str, text: &str| field::name(v, &path(field), text, 1..=200);
    let organization_name = name("organization_name", &from.organization_name);
    let region = name("region", &from.region);
    let head_full_name = name("head_full_name", &from.head_full_name);
    let administrator_full_name = name("administrator_full_name", &from.administrator_full_name);
    Some(Form {
        organization_name,
        kind: kind?,
        region,
        ogrn: from.ogrn.clone(),
        kpp: from.kpp.clone(),
        time_zone: from.time_zone.clone(),
        head_full_name,
        administrator_full_name,
        administrator_email: email?,
        administrator_phone: phone?,
    })
}

/// Decodes a contact into its canonical form.
fn contact<C>(v: &mut FieldViolations, path: String, value: &str) -> Option<String>
where
    C: FromStr<Err: Display> + Display,
{
    match value.parse::<C>() {
        Ok(contact) => Some(contact.to_string()),
        Err(error) => {
            v.add(path, error.to_string());
            None
        }
    }
}
