//! From messages and to them.
use chrono::{DateTime, Utc};
use parta_contacts::{EmailAddress, InvalidPhoneNumber, PhoneNumber};
use parta_ids::{OrgId, RosterImportId, TypedId};
use parta_proto::parta::membership::{internal::v1 as internal, v1 as pb};
use parta_roster::Role;
use parta_status::{FieldViolations, RpcError, field, invalid};
use parta_storage::{StorageError, page_size};

use crate::{
    admission::operations::Admission,
    context::Page,
    feed::{counts_of, timestamp},
    roster_import::storage as imports,
    sign_in::{model::Address, operations::Who},
};

/// A required id.
pub(crate) fn id<T: TypedId>(path: &str, text: &str) -> Result<T, RpcError> {
    let mut v = FieldViolations::default();
    let id = field::id(&mut v, path, text);
    done(v, id)
}

/// An id that may be left out.
pub(crate) fn optional_id<T: TypedId>(path: &str, text: &str) -> Result<Option<T>, RpcError> {
    if text.is_empty() {
        Ok(None)
    } else {
        id(path, text).map(Some)
    }
}

/// The organization and something in it; both faults are told at once.
pub(crate) fn ids<T: TypedId>(org: &str, path: &str, text: &str) -> Result<(OrgId, T), RpcError> {
    let mut v = FieldViolations::default();
    let (org, id) = (field::id(&mut v, "org_id", org), field::id(&mut v, path, text));
    done(v, org.zip(id))
}

fn done<T>(v: FieldViolations, value: Option<T>) -> Result<T, RpcError> {
    v.finish()?;
    value.ok_or_else(|| RpcError::internal("a violation was not noted"))
}

pub(crate) fn text(path: &str, value: &str, most: usize) -> Result<String, RpcError> {
    let mut v = FieldViolations::default();
    let text = field::text(&mut v, path, value, 1..=most, false);
    v.finish()?;
    Ok(text)
}

pub(crate) fn address(request: &pb::RequestCodeRequest) -> Result<Address, RpcError> {
    match (request.phone.as_str(), request.email.as_str()) {
        (phone, "") if !phone.is_empty() => phone_number("phone", phone).map(Address::Phone),
        ("", email) if !email.is_empty() => {
            let address = email.parse::<EmailAddress>();
            address
                .map(Address::Email)
                .map_err(|error| invalid("email", error.to_string()))
        }
        _ => Err(invalid("phone", "exactly one of phone and email is required")),
    }
}

pub(crate) fn phone_number(path: &str, value: &str) -> Result<PhoneNumber, RpcError> {
    value
        .parse()
        .map_err(|error: InvalidPhoneNumber| invalid(path, error.to_string()))
}

pub(crate) fn who(request: &pb::StartSessionRequest) -> Result<Who, RpcError> {
    match (request.account_id.as_str(), &request.new_account) {
        (account, None) => Ok(Who::Known(id("account_id", account)?)),
        ("", Some(new)) => Ok(Who::New(text("new_account.full_name", &new.full_name, 200)?)),
        _ => Err(invalid(
            "account_id",
            "exactly one of account_id and new_account is required",
        )),
    }
}

/// Reads a time in whole microseconds, which both databases keep; `None` for one out of range.
pub(crate) fn time(time: &prost_types::Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()? / 1_000 * 1_000)
}

pub(crate) fn admission(request: &internal::AdmitMemberRequest) -> Result<Admission, RpcError> {
    let mut v = FieldViolations::default();
    let org_id = field::id(&mut v, "org_id", &request.org_id);
    let invitation_id = field::id(&mut v, "invitation_id", &request.invitation_id);
    let flow_id = field::id(&mut v, "flow_id", &request.flow_id);
    let unit_id = field::optional_id(&mut v, "unit_id", &request.unit_id);
    let child_id = field::optional_id(&mut v, "child_id", &request.child_id);
    let claim_member_id = field::optional_id(&mut v, "claim_member_id", &request.claim_member_id);
    // A link of a roster import was made by nobody in person.
    let issuer_id = field::optional_id(&mut v, "issuer_id", &request.issuer_id);
    let role = Role::try_from(request.role()).ok();
    let admitted = matches!(
        role,
        Some(Role::Pupil | Role::Parent | Role::Teacher | Role::Staff)
    );
    v.check(admitted, "role", "must be PUPIL, PARENT, TEACHER or STAFF");
    v.check(
        role != Some(Role::Parent) || child_id.is_some(),
        "child_id",
        "is required for PARENT",
    );
    let placed = unit_id.is_some() || claim_member_id.is_some();
    v.check(
        role != Some(Role::Pupil) || placed,
        "unit_id",
        "is required for PUPIL without claim_member_id",
    );
    let all = org_id.zip(invitation_id).zip(flow_id).zip(role);
    let (((org_id, invitation_id), flow_id), role) = done(v, all)?;
    Ok(Admission {
        org_id,
        invitation_id,
        flow_id,
        role,
        unit_id,
        child_id,
        claim_member_id,
        issuer_id,
    })
}

/// A page with the filter that its token belongs to.
pub(crate) fn page<'a>(size: i32, token: &'a str, filter: String) -> Result<Page<'a>, RpcError> {
    Ok(Page {
        size: page_size(size)?,
        token,
        filter,
    })
}

/// An import as it is answered.
pub(crate) fn roster_import(row: &imports::Import) -> Result<pb::RosterImport, StorageError> {
    Ok(pb::RosterImport {
        id: RosterImportId::from_uuid(row.import_id).to_string(),
        state: row.state,
        one_roster_version: row.one_roster_version.clone(),
        planned: Some(counts_of("roster_import.planned", &row.planned)?),
        done: Some(counts_of("roster_import.done", &row.done)?),
        problem_count: row.problem_count,
        mass_removal: row.mass_removal,
        create_time: Some(timestamp(row.create_time)),
        start_time: row.start_time.map(timestamp),
        finish_time: row.finish_time.map(timestamp),
        etag: parta_storage::etag(row.revision),
    })
}

pub(crate) fn roster_change(row: imports::ChangeRow) -> pb::RosterChange {
    pb::RosterChange {
        kind: row.kind.into(),
        person: row.person,
        unit_label: row.unit_label,
        before: row.before,
        after: row.after,
    }
}

pub(crate) fn roster_problem(row: imports::ProblemRow) -> pb::RosterImportProblem {
    pb::RosterImportProblem {
        file: row.file,
        line: i32::try_from(row.line).unwrap_or(i32::MAX),
        column: row.column_name,
        description: row.description,
        fatal: row.fatal,
    }
}
