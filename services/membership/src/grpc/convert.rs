//! From messages and to them.
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use parta_contacts::{EmailAddress, InvalidPhoneNumber, PhoneNumber};
use parta_ids::{AssignmentId, MemberId, OrgId, RosterImportId, ServiceAccountId, TypedId, UnitId};
use parta_proto::parta::membership::{internal::v1 as internal, v1 as pb};
use parta_roster::Role;
use parta_status::{FieldViolations, RpcError, field, invalid};
use parta_storage::{etag, page_size};

use crate::{
    events::{roles, timestamp},
    model::Address,
    operations::{Admission, NewAssignment, NewMember, Page, Who},
    storage::{imports, members::Member, relations::Assignment, service_accounts::ServiceAccount},
};

pub(crate) fn member(row: &Member, units: &[UnitId]) -> pb::Member {
    pb::Member {
        id: MemberId::from_uuid(row.member_id).to_string(),
        org_id: OrgId::from_uuid(row.org_id).to_string(),
        full_name: row.full_name.clone(),
        state: row.state,
        roles: roles(row.roles),
        teacher_verified: row.teacher_verified,
        unit_ids: units.iter().map(ToString::to_string).collect(),
        create_time: Some(timestamp(row.create_time)),
        etag: etag(row.revision),
    }
}

pub(crate) fn assignment(row: &Assignment) -> pb::Assignment {
    pb::Assignment {
        id: AssignmentId::from_uuid(row.assignment_id).to_string(),
        member_id: MemberId::from_uuid(row.member_id).to_string(),
        unit_id: UnitId::from_uuid(row.unit_id).to_string(),
        kind: row.kind,
        create_time: Some(timestamp(row.create_time)),
        expire_time: row.expire_time.map(timestamp),
    }
}

pub(crate) fn service_account(row: &ServiceAccount) -> pb::ServiceAccount {
    pb::ServiceAccount {
        id: ServiceAccountId::from_uuid(row.service_account_id).to_string(),
        display_name: row.display_name.clone(),
        permissions: row.permissions.split(' ').map(str::to_owned).collect(),
        create_time: Some(timestamp(row.create_time)),
    }
}

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

pub(crate) fn role(path: &str, value: pb::Role) -> Result<Role, RpcError> {
    Role::try_from(value).map_err(|()| invalid(path, "must name a role"))
}

pub(crate) fn roles_in(path: &str, values: &[i32]) -> Result<BTreeSet<Role>, RpcError> {
    let known = |value: &i32| {
        pb::Role::try_from(*value)
            .ok()
            .and_then(|r| Role::try_from(r).ok())
    };
    let roles: Option<BTreeSet<Role>> = values.iter().map(known).collect();
    roles
        .filter(|roles| !roles.is_empty())
        .ok_or_else(|| invalid(path, "must name at least one role, and no unknown ones"))
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

pub(crate) fn new_member(request: &pb::CreateMemberRequest) -> Result<NewMember, RpcError> {
    let mut v = FieldViolations::default();
    let org_id = field::id(&mut v, "org_id", &request.org_id);
    let full_name = field::text(&mut v, "full_name", &request.full_name, 1..=200, false);
    let unit_id = field::optional_id(&mut v, "unit_id", &request.unit_id);
    let role = Role::try_from(request.role()).ok();
    v.check(role.is_some(), "role", "must name a role");
    v.check(
        unit_id.is_none() || role == Some(Role::Pupil),
        "unit_id",
        "is for pupils only",
    );
    let (org_id, role) = done(v, org_id.zip(role))?;
    Ok(NewMember {
        org_id,
        full_name,
        role,
        unit_id,
    })
}

pub(crate) fn new_assignment(request: &pb::CreateAssignmentRequest) -> Result<NewAssignment, RpcError> {
    let mut v = FieldViolations::default();
    let org_id = field::id(&mut v, "org_id", &request.org_id);
    let member_id = field::id(&mut v, "member_id", &request.member_id);
    let unit_id = field::id(&mut v, "unit_id", &request.unit_id);
    v.check(
        request.kind() != pb::AssignmentKind::Unspecified,
        "kind",
        "must be a kind of assignment",
    );
    let expire_time = request.expire_time.as_ref().map(time);
    v.check(expire_time != Some(None), "expire_time", "must be a time");
    let ((org_id, member_id), unit_id) = done(v, org_id.zip(member_id).zip(unit_id))?;
    Ok(NewAssignment {
        org_id,
        member_id,
        unit_id,
        kind: request.kind(),
        expire_time: expire_time.flatten(),
    })
}

fn time(time: &prost_types::Timestamp) -> Option<DateTime<Utc>> {
    // Whole microseconds: what both databases keep.
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

/// Permissions of an external system; which exist is known by the RPCs that ask for them.
pub(crate) fn permissions(asked: &[String]) -> Result<Vec<String>, RpcError> {
    let named = |p: &String| {
        (1..=64).contains(&p.len())
            && p.chars()
                .all(|c| c.is_ascii_lowercase() || matches!(c, '.' | '_'))
    };
    if !(1..=20).contains(&asked.len()) || !asked.iter().all(named) {
        return Err(invalid("permissions", "must be 1 to 20 names like roster.read"));
    }
    Ok(asked
        .iter()
        .cloned()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect())
}

/// An import as it is answered.
pub(crate) fn roster_import(row: &imports::Import) -> pb::RosterImport {
    use prost::Message as _;
    let counts = |bytes: &[u8]| pb::RosterImportCounts::decode(bytes).ok();
    pb::RosterImport {
        id: RosterImportId::from_uuid(row.import_id).to_string(),
        state: row.state,
        one_roster_version: row.one_roster_version.clone(),
        planned: counts(&row.planned),
        done: counts(&row.done),
        problem_count: row.problem_count,
        mass_removal: row.mass_removal,
        create_time: Some(timestamp(row.create_time)),
        start_time: row.start_time.map(timestamp),
        finish_time: row.finish_time.map(timestamp),
        etag: parta_storage::etag(row.revision),
    }
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
