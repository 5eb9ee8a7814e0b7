//! Classes, groups and departments.
use parta_access::ServiceAccountPermission;
use parta_ids::{OrgId, UnitId};
use parta_proto_membership::v1::{
    Role, RosterImportStaged, StagedUnit, membership_event::Payload as Membership,
};
use parta_proto_org_registry::v1::OrganizationKind;
use parta_testkit::on_both;
use serde_json::{Value, json};

use crate::tests::fixture::{Fixture, form};

const CREATE: &str = "UnitService/CreateUnit";
const LIST: &str = "UnitService/ListUnits";
const RENAME: &str = "UnitService/RenameUnit";
const ARCHIVE: &str = "UnitService/ArchiveUnit";

fn class(org: OrgId, label: &str) -> Value {
    json!({"org_id": org.to_string(), "kind": "UNIT_KIND_CLASS", "label": label})
}

fn labels(list: &Value) -> Vec<&str> {
    let all = list["units"].as_array().unwrap();
    all.iter().map(|unit| unit["label"].as_str().unwrap()).collect()
}

on_both!(
    /// Covers: R5 allowed
    class_is_created_renamed_and_archived_with_events,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let org = fixture.school(1).await;
        let head = fixture.member(org, Role::Head, &[]).await;
        let mut request = class(org, "5А");
        request["request_id"] = json!(fixture.request_id());
        let created = fixture.expect_success(&head, CREATE, request.clone()).await;
        assert_eq!(fixture.expect_success(&head, CREATE, request.clone()).await, created);
        request["label"] = json!("5Б");
        assert_eq!(fixture.expect_refusal(&head, CREATE, request).await.0, "REQUEST_ID_REUSED");
        let unit = &created["unit"];
        let rename = json!({"org_id": unit["org_id"], "unit_id": unit["id"], "label": "6А", "etag": unit["etag"]});
        let renamed = fixture.expect_success(&head, RENAME, rename.clone()).await["unit"].take();
        assert_eq!(renamed["label"], json!("6А"));
        assert_eq!(fixture.expect_refusal(&head, RENAME, rename.clone()).await.0, "ETAG_MISMATCH");
        // A label that only looks like another one is refused.
        for hidden in ["6А\u{200b}", "\u{202e}6А", "\u{2800}"] {
            let mut hidden_rename = rename.clone();
            hidden_rename["label"] = json!(hidden);
            assert_eq!(fixture.expect_refusal(&head, RENAME, hidden_rename).await.0, "FIELD_INVALID");
        }
        // The old label is free again, and a unit may keep its own label.
        fixture.expect_success(&head, CREATE, class(org, "5А")).await;
        let same = json!({"org_id": unit["org_id"], "unit_id": unit["id"], "label": "6 а"});
        fixture.expect_success(&head, RENAME, same).await;
        let archive = json!({"org_id": unit["org_id"], "unit_id": unit["id"]});
        let archived = fixture.expect_success(&head, ARCHIVE, archive.clone()).await;
        assert!(archived["unit"]["archive_time"].is_string());
        assert_eq!(fixture.expect_refusal(&head, ARCHIVE, archive.clone()).await.0, "UNIT_ARCHIVED");
        let mut rename = archive.clone();
        rename["label"] = json!("7А");
        assert_eq!(fixture.expect_refusal(&head, RENAME, rename).await.0, "UNIT_ARCHIVED");
        fixture.expect_success(&head, CREATE, class(org, "6А")).await;

        let active = fixture.expect_success(&head, LIST, json!({"org_id": org.to_string()})).await;
        assert_eq!(labels(&active), ["Учительская", "5А", "6А"]);
        let all = json!({"org_id": org.to_string(), "include_archived": true, "kind": "UNIT_KIND_CLASS"});
        assert_eq!(labels(&fixture.expect_success(&head, LIST, all).await), ["6 а", "5А", "6А"]);
        let names: Vec<_> = fixture.events(org, 8).await.into_iter().map(|(name, _)| name).collect();
        let expected = [
            "organization_created",
            "unit_created",
            "unit_created",
            "unit_renamed",
            "unit_created",
            "unit_renamed",
            "unit_archived",
            "unit_created",
        ];
        assert_eq!(names, expected);
        fixture.close().await;
    }
);

on_both!(
    /// Covers: R5 refused
    label_is_unique_among_active_units_of_a_kind,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let (org, other) = (fixture.school(1).await, fixture.school(2).await);
        let head = fixture.member(org, Role::Administrator, &[]).await;
        fixture.expect_success(&head, CREATE, class(org, "5А")).await;
        let second = fixture.expect_success(&head, CREATE, class(org, "5Б")).await["unit"]["id"].take();
        let rows = fixture.rows().await;
        // Similar labels are equal: a Latin A, a different case, blanks.
        for label in ["5А", "5A", " 5 а ", "«5А»"] {
            assert_eq!(fixture.expect_refusal(&head, CREATE, class(org, label)).await.0, "UNIT_LABEL_TAKEN");
            let rename = json!({"org_id": org.to_string(), "unit_id": second, "label": label});
            assert_eq!(fixture.expect_refusal(&head, RENAME, rename).await.0, "UNIT_LABEL_TAKEN");
        }
        for bad in ["", " ", "a\u{0}", "a\nb", "\u{202e}\u{0}", &"я".repeat(65)] {
            assert_eq!(fixture.expect_refusal(&head, CREATE, class(org, bad)).await.1, ["label"], "{bad:?}");
        }
        for kind in [json!(0), json!("UNIT_KIND_STAFF_ROOM"), json!(42), json!(-1)] {
            let mut bad = class(org, "9А");
            bad["kind"] = kind;
            assert_eq!(fixture.expect_refusal(&head, CREATE, bad).await.1, ["kind"]);
        }
        assert_eq!(fixture.rows().await, rows);
        // A unit of another kind or of another organization may have the same label.
        let mut group = class(org, "5А");
        group["kind"] = json!("UNIT_KIND_GROUP");
        fixture.expect_success(&head, CREATE, group).await;
        let other_administrator = fixture.member(other, Role::Administrator, &[]).await;
        fixture.expect_success(&other_administrator, CREATE, class(other, "5А")).await;
        fixture.close().await;
    }
);

on_both!(
    /// Covers: R5 refused
    structure_is_changed_by_the_administration_only,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let (org, other) = (fixture.school(1).await, fixture.school(2).await);
        let administrator = fixture.member(org, Role::Administrator, &[]).await;
        let created = fixture.expect_success(&administrator, CREATE, class(org, "5А")).await;
        let unit = created["unit"]["id"].as_str().unwrap();
        let rename = json!({"org_id": org.to_string(), "unit_id": unit, "label": "6А"});
        let archive = json!({"org_id": org.to_string(), "unit_id": unit});
        let acts = [(CREATE, class(org, "7А")), (RENAME, rename), (ARCHIVE, archive)];
        let deputy = fixture.member(org, Role::Deputy, &[]).await;
        fixture.expect_success(&deputy, CREATE, class(org, "8А")).await;
        let rows = fixture.rows().await;
        for role in [Role::Pupil, Role::Parent, Role::Teacher, Role::Staff] {
            let credential = fixture.member(org, role, &[]).await;
            for (rpc, body) in &acts {
                assert_eq!(fixture.expect_refusal(&credential, rpc, body.clone()).await.0, "PERMISSION_DENIED");
            }
        }
        let other_administrator = fixture.member(other, Role::Administrator, &[]).await;
        let service_account = fixture.service_account(org, ServiceAccountPermission::RosterRead);
        for (rpc, body) in &acts {
            assert_eq!(fixture.expect_refusal(&other_administrator, rpc, body.clone()).await.0, "NOT_FOUND");
            assert_eq!(fixture.expect_refusal(&None, rpc, body.clone()).await.0, "CREDENTIAL_MISSING");
            for credential in [&fixture.operator, &service_account] {
                assert_eq!(fixture.expect_refusal(credential, rpc, body.clone()).await.0, "CALLER_NOT_ACCEPTED");
            }
            // The request names the caller's organization and a unit of another one.
            let mut mixed = body.clone();
            mixed["org_id"] = json!(other.to_string());
            if *rpc != CREATE {
                assert_eq!(fixture.expect_refusal(&other_administrator, rpc, mixed).await.0, "NOT_FOUND");
            }
        }
        assert_eq!(fixture.rows().await, rows);
        fixture.close().await;
    }
);

on_both!(
    staff_room_is_permanent_and_partners_have_no_classes,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let org = fixture.school(1).await;
        let administrator = fixture.member(org, Role::Administrator, &[]).await;
        let list = fixture
            .expect_success(&administrator, LIST, json!({"org_id": org.to_string()}))
            .await;
        let fixed = json!({"org_id": org.to_string(), "unit_id": list["units"][0]["id"]});
        assert_eq!(
            fixture
                .expect_refusal(&administrator, ARCHIVE, fixed.clone())
                .await
                .0,
            "STAFF_ROOM_FIXED"
        );
        let mut rename = fixed;
        rename["label"] = json!("Комната");
        assert_eq!(
            fixture.expect_refusal(&administrator, RENAME, rename).await.0,
            "STAFF_ROOM_FIXED"
        );

        let mut partner = form(2);
        partner.kind = OrganizationKind::Partner.into();
        let org = fixture.organization(partner).await;
        let administrator = fixture.member(org, Role::Administrator, &[]).await;
        for kind in ["UNIT_KIND_CLASS", "UNIT_KIND_GROUP"] {
            let request = json!({"org_id": org.to_string(), "kind": kind, "label": "1"});
            assert_eq!(
                fixture.expect_refusal(&administrator, CREATE, request).await.0,
                "UNIT_KIND_NOT_OFFERED"
            );
        }
        let request = json!({"org_id": org.to_string(), "kind": "UNIT_KIND_DEPARTMENT", "label": "Музей"});
        fixture.expect_success(&administrator, CREATE, request).await;
        fixture.close().await;
    }
);

on_both!(pupils_see_only_their_classes, |database| async move {
    let fixture = Fixture::open(database).await;
    let (org, other) = (fixture.school(1).await, fixture.school(2).await);
    let administrator = fixture.member(org, Role::Administrator, &[]).await;
    let mut units: Vec<UnitId> = Vec::new();
    for label in ["5А", "5Б", "5В"] {
        let created = fixture
            .expect_success(&administrator, CREATE, class(org, label))
            .await;
        units.push(created["unit"]["id"].as_str().unwrap().parse().unwrap());
    }
    let pupil = fixture.member(org, Role::Pupil, &units[..1]).await;
    let list = json!({"org_id": org.to_string()});
    assert_eq!(
        labels(&fixture.expect_success(&pupil, LIST, list.clone()).await),
        ["5А"]
    );
    let get = |unit: UnitId| json!({"org_id": org.to_string(), "unit_id": unit.to_string()});
    fixture
        .expect_success(&pupil, "UnitService/GetUnit", get(units[0]))
        .await;
    let outcome = fixture
        .expect_refusal(&pupil, "UnitService/GetUnit", get(units[1]))
        .await;
    assert_eq!(outcome.0, "NOT_FOUND");
    let service_account = fixture.service_account(org, ServiceAccountPermission::RosterRead);
    assert_eq!(
        labels(&fixture.expect_success(&service_account, LIST, list.clone()).await).len(),
        4
    );
    let other_administrator = fixture.member(other, Role::Administrator, &[]).await;
    for (rpc, body) in [(LIST, list.clone()), ("UnitService/GetUnit", get(units[0]))] {
        assert_eq!(
            fixture.expect_refusal(&other_administrator, rpc, body).await.0,
            "NOT_FOUND"
        );
    }

    // A page token is bound to its caller, its list and its filter.
    let page = json!({"org_id": org.to_string(), "page_size": 2});
    let first = fixture.expect_success(&administrator, LIST, page.clone()).await;
    let mut second = page.clone();
    second["page_token"] = first["next_page_token"].clone();
    let rest = fixture.expect_success(&administrator, LIST, second.clone()).await;
    assert_eq!(labels(&rest), ["5Б", "5В"]);
    let colleague = fixture.member(org, Role::Teacher, &[]).await;
    let mut filtered = second.clone();
    filtered["kind"] = json!("UNIT_KIND_CLASS");
    let mut archived = second.clone();
    archived["include_archived"] = json!(true);
    for (credential, body) in [
        (&colleague, second),
        (&administrator, filtered),
        (&administrator, archived),
    ] {
        assert_eq!(
            fixture.expect_refusal(credential, LIST, body).await.1,
            ["page_token"]
        );
    }
    for (field, value) in [("page_size", json!(-1)), ("kind", json!(99))] {
        let mut bad = list.clone();
        bad[field] = value;
        assert_eq!(fixture.expect_refusal(&administrator, LIST, bad).await.1, [field]);
    }
    fixture.close().await;
});

on_both!(
    staged_import_creates_the_classes_that_are_missing,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let org = fixture.school(1).await;
        let head = fixture.member(org, Role::Head, &[]).await;
        let known = fixture.expect_success(&head, CREATE, class(org, "5А")).await["unit"].take();
        let import = fixture.env.id::<parta_ids::RosterImportId>().to_string();
        let staged = RosterImportStaged {
            first_change: 1,
            last_change: 2,
            roster_import_id: import.clone(),
            units: [("class-1", " 5 а "), ("class-2", " 5Б ")]
                .map(|(key, label)| StagedUnit {
                    source_key: key.to_owned(),
                    label: label.to_owned(),
                })
                .to_vec(),
            invitations: Vec::new(),
        };
        fixture
            .apply(org, Membership::RosterImportStaged(staged.clone()))
            .await;
        fixture.run_due_jobs().await;
        let list = fixture
            .expect_success(&head, LIST, json!({"org_id": org.to_string()}))
            .await;
        assert_eq!(labels(&list), ["Учительская", "5А", "5Б"]);
        let events = fixture.events(org, 5).await;
        for (event, unit, key) in [
            (&events[3], &known["id"], "class-1"),
            (&events[4], &list["units"][2]["id"], "class-2"),
        ] {
            assert_eq!(event.0, "unit_created");
            assert_eq!(event.1["unit_id"], *unit);
            assert_eq!(event.1["roster_import_id"], json!(import));
            assert_eq!(event.1["source_key"], json!(key));
        }
        // A snapshot repeats the request after the school has renamed the class: no second one is made.
        let renamed = json!({
            "org_id": org.to_string(),
            "unit_id": list["units"][2]["id"],
            "label": "5В",
        });
        fixture.expect_success(&head, RENAME, renamed).await;
        fixture.apply(org, Membership::RosterImportStaged(staged)).await;
        fixture.run_due_jobs().await;
        let list = fixture
            .expect_success(&head, LIST, json!({"org_id": org.to_string()}))
            .await;
        assert_eq!(labels(&list), ["Учительская", "5А", "5В"]);
        fixture.close().await;
    }
);
