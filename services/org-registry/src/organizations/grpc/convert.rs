//! Converts organizations from and to protobuf.
use parta_mutations::etag;
use parta_proto::timestamp;
use parta_proto_org_registry::v1 as pb;
use parta_status::{FieldViolations, field};

use super::super::{
    events::policies_to_proto,
    model::{Changes, Organization},
};

pub(crate) fn to_proto(from: &Organization) -> pb::Organization {
    pb::Organization {
        id: from.id.to_string(),
        display_name: from.display_name.clone(),
        kind: from.kind.number(),
        region: from.region.clone(),
        time_zone: from.time_zone.clone(),
        ogrn: from.ogrn.clone(),
        kpp: from.kpp.clone(),
        head_full_name: from.head_full_name.clone(),
        policies: Some(policies_to_proto(from)),
        create_time: Some(timestamp(from.create_time)),
        update_time: Some(timestamp(from.update_time)),
        etag: etag(from.revision),
    }
}

/// Checks the name of a time zone.
pub(crate) fn time_zone(v: &mut FieldViolations, path: &str, value: &str) {
    v.check(
        value.parse::<chrono_tz::Tz>().is_ok(),
        path,
        "must be an IANA time zone, for example Europe/Moscow",
    );
}

/// Decodes the fields that the mask names.
pub(super) fn changes(v: &mut FieldViolations, from: &pb::UpdateOrganizationRequest) -> Changes {
    let mut changes = Changes::default();
    let none = pb::Organization::default();
    let values = from.organization.as_ref().unwrap_or(&none);
    v.check(from.organization.is_some(), "organization", "is required");
    let paths = from.update_mask.as_ref().map_or(&[][..], |mask| &mask.paths);
    v.check(!paths.is_empty(), "update_mask", "must name the fields to change");
    for path in paths {
        match path.as_str() {
            "display_name" => {
                let path = "organization.display_name";
                let text = field::name(v, path, &values.display_name, 1..=200);
                changes.display_name = Some(text);
            }
            "region" => {
                let text = field::name(v, "organization.region", &values.region, 1..=200);
                changes.region = Some(text);
            }
            "time_zone" => {
                time_zone(v, "organization.time_zone", &values.time_zone);
                changes.time_zone = Some(values.time_zone.clone());
            }
            _ => v.add("update_mask", "names a field that cannot be changed"),
        }
    }
    changes
}
