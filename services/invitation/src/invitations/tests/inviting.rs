//! Creating, reading and resolving invitations (R13, R14).
use parta_ids::{InvitationId, MemberId, TypedId as _};
use parta_proto_invitation::v1 as pb;
use parta_proto_membership::v1::{
    MemberState, Role, RosterImportStaged, StagedInvitation, membership_event::Payload as Membership,
};
use parta_service_testkit::reason;
use parta_testkit::on_both;

use crate::tests::fixture::Fixture;

async fn may(fixture: &Fixture, member: MemberId, role: Role) -> String {
    reason(&fixture.create(member, fixture.wanted(role)).await)
}

// Only the administration invites staff. Teachers of a class invite its pupils. The class teacher invites
// parents, and other verified teachers of the class do so only under the policy. Unverified teachers, pupils
// and parents cannot invite.
// Covers: R14 allowed, R14 refused, R22 refused
on_both!(inviters_are_limited_by_their_role, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let ok = ["OK"; 4];
    let table = [
        (s.administrator, ok),
        (
            s.class_teacher,
            ["OK", "OK", "PERMISSION_DENIED", "PERMISSION_DENIED"],
        ),
        (
            s.teacher,
            [
                "OK",
                "PERMISSION_DENIED",
                "PERMISSION_DENIED",
                "PERMISSION_DENIED",
            ],
        ),
        (s.unverified, ["PERMISSION_DENIED"; 4]),
        (s.stranger, ["PERMISSION_DENIED"; 4]),
        (s.pupil, ["PERMISSION_DENIED"; 4]),
        (s.parent, ["PERMISSION_DENIED"; 4]),
    ];
    for (member, expected) in table {
        for (role, expected) in [Role::Pupil, Role::Parent, Role::Teacher, Role::Staff]
            .into_iter()
            .zip(expected)
        {
            assert_eq!(may(&fixture, member, role).await, expected, "{role:?}");
        }
    }
    s.let_class_staff_invite_parents(&fixture.test_env, true).await;
    assert_eq!(may(&fixture, s.teacher, Role::Parent).await, "OK");
    assert_eq!(
        may(&fixture, s.unverified, Role::Parent).await,
        "PERMISSION_DENIED"
    );
    assert_eq!(may(&fixture, s.stranger, Role::Parent).await, "PERMISSION_DENIED");
});

// Covers: R13 allowed, R13 refused, R14 allowed, R14 refused
on_both!(link_contents_are_limited_by_role, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let made = fixture
        .create(s.class_teacher, fixture.wanted(Role::Parent))
        .await
        .unwrap();
    let invitation = made.invitation.unwrap();
    assert_eq!(
        (invitation.max_uses, invitation.child_id),
        (2, s.pupil.to_string())
    );
    let life = invitation.expire_time.unwrap().seconds - invitation.create_time.unwrap().seconds;
    assert_eq!(life, 14 * 86_400);
    let link = made.link.unwrap();
    assert_eq!(
        link.url,
        format!("https://school.example/join#{}", link.link_token)
    );
    assert_eq!((link.link_token.len(), link.code.len()), (24, 14));

    let of_child = |child: MemberId| pb::CreateInvitationRequest {
        child_id: child.to_string(),
        ..fixture.wanted(Role::Parent)
    };
    let of_record = |record: MemberId| pb::CreateInvitationRequest {
        claim_member_id: record.to_string(),
        ..fixture.wanted(Role::Pupil)
    };
    let to_staff_room = pb::CreateInvitationRequest {
        unit_id: s.staff_room.to_string(),
        ..fixture.wanted(Role::Pupil)
    };
    for (inviter, wanted, expected) in [
        // A pupil without an account can be the child of a link.
        (s.class_teacher, of_child(s.expected), "OK"),
        (s.class_teacher, of_child(s.other_pupil), "CHILD_NOT_IN_UNIT"),
        (s.class_teacher, of_record(s.pupil), "MEMBER_NOT_EXPECTED"),
        (s.class_teacher, of_record(s.expected), "OK"),
        (s.administrator, to_staff_room, "UNIT_NOT_SUITABLE"),
    ] {
        assert_eq!(reason(&fixture.create(inviter, wanted).await), expected);
    }
    s.archive(&fixture.test_env, s.class).await;
    assert_eq!(
        may(&fixture, s.administrator, Role::Pupil).await,
        "UNIT_NOT_SUITABLE"
    );
});

// A response contains every violation of the request.
// Covers: R13 refused
on_both!(
    malformed_request_returns_all_its_violations,
    |database| async move {
        let fixture = Fixture::open(&database).await;
        let wanted = pb::CreateInvitationRequest {
            max_uses: 2,
            ttl: Some(prost_types::Duration {
                seconds: 31 * 86_400,
                nanos: 0,
            }),
            recipient_label: String::new(),
            child_id: fixture.school.pupil.to_string(),
            ..fixture.wanted(Role::Teacher)
        };
        let status = fixture
            .create(fixture.school.administrator, wanted)
            .await
            .unwrap_err();
        let refusal = parta_status::RpcError::from_status(&status).unwrap();
        let mut fields: Vec<_> = refusal.fields().iter().map(|(path, _)| path.as_str()).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["child_id", "max_uses", "recipient_label", "ttl"]);
    }
);

// The secret is returned again although it is not stored.
// Covers: R13 allowed, R13 refused
on_both!(repeated_creation_returns_the_same_link, |database| async move {
    let fixture = Fixture::open(&database).await;
    let wanted = fixture.wanted(Role::Pupil);
    let first = fixture
        .create(fixture.school.teacher, wanted.clone())
        .await
        .unwrap();
    let again = fixture
        .create(fixture.school.teacher, wanted.clone())
        .await
        .unwrap();
    assert_eq!(first, again);
    let other = pb::CreateInvitationRequest {
        max_uses: 3,
        ..wanted
    };
    assert_eq!(
        reason(&fixture.create(fixture.school.teacher, other).await),
        "REQUEST_ID_REUSED"
    );

    let id = first.invitation.unwrap().id;
    let get_link = |member| {
        let request = pb::GetInvitationLinkRequest {
            org_id: fixture.school.org.to_string(),
            invitation_id: id.clone(),
        };
        let (mut client, request) = (
            fixture.client.clone(),
            fixture
                .test_env
                .member_request(fixture.school.org, member, request),
        );
        async move { client.get_invitation_link(request).await }
    };
    let link = get_link(fixture.school.teacher).await.unwrap().into_inner().link;
    assert_eq!(link, first.link);
    assert_eq!(
        get_link(fixture.school.administrator)
            .await
            .unwrap()
            .into_inner()
            .link,
        first.link
    );
    assert_eq!(
        reason(&get_link(fixture.school.class_teacher).await),
        "PERMISSION_DENIED"
    );
    assert_eq!(reason(&get_link(fixture.school.pupil).await), "PERMISSION_DENIED");
});

// Invitations of another organization are not found, and a link cannot name members of another organization.
// Covers: R59 refused
on_both!(other_organization_cannot_see_links, |database| async move {
    let fixture = Fixture::open(&database).await;
    let other = parta_service_testkit::School::create(&fixture.test_env).await;
    let (id, _) = fixture.link(1).await;
    let mut client = fixture.client.clone();
    let org_id = fixture.school.org.to_string();
    let get = pb::GetInvitationRequest {
        org_id: org_id.clone(),
        invitation_id: id.clone(),
    };
    let outcome = client
        .get_invitation(
            fixture
                .test_env
                .member_request(other.org, other.administrator, get),
        )
        .await;
    assert_eq!(reason(&outcome), "NOT_FOUND");
    let get = pb::GetInvitationRequest {
        org_id: other.org.to_string(),
        invitation_id: id,
    };
    let outcome = client
        .get_invitation(
            fixture
                .test_env
                .member_request(other.org, other.administrator, get),
        )
        .await;
    assert_eq!(reason(&outcome), "NOT_FOUND");
    let list = pb::ListInvitationsRequest {
        org_id,
        ..Default::default()
    };
    let outcome = client
        .list_invitations(
            fixture
                .test_env
                .member_request(other.org, other.administrator, list),
        )
        .await;
    assert_eq!(reason(&outcome), "NOT_FOUND");
    let list = pb::ListInvitationsRequest {
        org_id: other.org.to_string(),
        ..Default::default()
    };
    let seen = client
        .list_invitations(
            fixture
                .test_env
                .member_request(other.org, other.administrator, list),
        )
        .await
        .unwrap();
    assert_eq!(seen.into_inner().invitations.len(), 0);
    let wanted = pb::CreateInvitationRequest {
        unit_id: other.class.to_string(),
        ..fixture.wanted(Role::Pupil)
    };
    assert_eq!(
        reason(&fixture.create(fixture.school.administrator, wanted).await),
        "NOT_FOUND"
    );
    let wanted = pb::CreateInvitationRequest {
        child_id: other.pupil.to_string(),
        ..fixture.wanted(Role::Parent)
    };
    assert_eq!(
        reason(&fixture.create(fixture.school.administrator, wanted).await),
        "CHILD_NOT_IN_UNIT"
    );
});

// A link resolves to its organization, unit and role, and never to a child. The code resolves to the same and
// may be typed in lower case, with blanks and with similar characters.
// Covers: R13 allowed
on_both!(link_resolves_to_its_unit_and_role, |database| async move {
    let fixture = Fixture::open(&database).await;
    let made = fixture
        .create(fixture.school.class_teacher, fixture.wanted(Role::Parent))
        .await
        .unwrap();
    let link = made.link.unwrap();
    let resolved = fixture.resolve(&link.link_token).await.unwrap();
    assert_eq!(resolved.organization_display_name, "Школа № 5");
    assert_eq!(
        (resolved.role(), resolved.unit_label.as_str()),
        (Role::Parent, "5А")
    );
    let typed = link
        .code
        .to_lowercase()
        .replace('-', " ")
        .replace('0', "o")
        .replace('1', "l");
    let secret = Some(pb::resolve_invitation_request::Secret::Code(typed));
    let by_code = fixture
        .client
        .clone()
        .resolve_invitation(pb::ResolveInvitationRequest { secret })
        .await
        .unwrap();
    assert_eq!(by_code.into_inner(), resolved);
    let none = fixture
        .client
        .clone()
        .resolve_invitation(pb::ResolveInvitationRequest { secret: None })
        .await;
    assert_eq!(reason(&none), "FIELD_INVALID");
});

// The administration lists all links and other staff only their own, in pages.
// Covers: R13 allowed, R13 refused
on_both!(lists_are_paged_and_limited_by_role, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    for member in [s.administrator, s.class_teacher, s.class_teacher, s.teacher] {
        fixture.create(member, fixture.wanted(Role::Pupil)).await.unwrap();
    }
    let list = async |member, page_size, page_token: &str, unused| {
        let request = pb::ListInvitationsRequest {
            org_id: s.org.to_string(),
            page_size,
            page_token: page_token.to_owned(),
            unused,
            ..Default::default()
        };
        fixture
            .client
            .clone()
            .list_invitations(fixture.test_env.member_request(s.org, member, request))
            .await
    };
    let first = list(s.administrator, 3, "", false).await.unwrap().into_inner();
    assert_eq!(first.invitations.len(), 3);
    let rest = list(s.administrator, 3, &first.next_page_token, false)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((rest.invitations.len(), rest.next_page_token.as_str()), (1, ""));
    let all: std::collections::BTreeSet<_> = first
        .invitations
        .iter()
        .chain(&rest.invitations)
        .map(|i| i.id.clone())
        .collect();
    assert_eq!(all.len(), 4);
    let changed = list(s.administrator, 3, &first.next_page_token, true).await;
    assert_eq!(reason(&changed), "FIELD_INVALID");
    assert_eq!(
        list(s.class_teacher, 0, "", false)
            .await
            .unwrap()
            .into_inner()
            .invitations
            .len(),
        2
    );
    assert_eq!(reason(&list(s.pupil, 0, "", false).await), "PERMISSION_DENIED");
    assert_eq!(
        reason(&list(s.administrator, -1, "", false).await),
        "FIELD_INVALID"
    );
});

// A staged import creates one single-use link per expected member, even if its event is delivered again.
// Covers: R31 allowed
on_both!(staged_import_creates_each_link_once, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let teacher: MemberId = fixture.test_env.env.id();
    s.admit(
        &fixture.test_env,
        teacher,
        Role::Teacher,
        MemberState::Expected,
        false,
    )
    .await;
    let staged = RosterImportStaged {
        first_change: 1,
        last_change: 2,
        roster_import_id: fixture.test_env.env.id::<parta_ids::RosterImportId>().to_string(),
        units: Vec::new(),
        invitations: vec![
            StagedInvitation {
                member_id: s.expected.to_string(),
                role: Role::Pupil.into(),
            },
            StagedInvitation {
                member_id: teacher.to_string(),
                role: Role::Teacher.into(),
            },
        ],
    };
    for _ in 0..2 {
        fixture
            .test_env
            .apply_membership(s.org, Membership::RosterImportStaged(staged.clone()))
            .await;
    }
    let runner = fixture.ports.job_runner();
    fixture.test_env.run_due_jobs(&runner).await;
    let request = pb::ListInvitationsRequest {
        org_id: s.org.to_string(),
        ..Default::default()
    };
    let request = fixture.test_env.member_request(s.org, s.administrator, request);
    let made = fixture
        .client
        .clone()
        .list_invitations(request)
        .await
        .unwrap()
        .into_inner()
        .invitations;
    assert_eq!(made.len(), 2);
    assert!(
        made.iter()
            .all(|i| i.max_uses == 1 && i.roster_import_id == staged.roster_import_id)
    );
    let of_pupil = made
        .iter()
        .find(|i| i.claim_member_id == s.expected.to_string())
        .unwrap();
    let request = pb::GetInvitationLinkRequest {
        org_id: s.org.to_string(),
        invitation_id: of_pupil.id.clone(),
    };
    let request = fixture.test_env.member_request(s.org, s.administrator, request);
    let link = fixture
        .client
        .clone()
        .get_invitation_link(request)
        .await
        .unwrap()
        .into_inner()
        .link
        .unwrap();
    fixture.accept(fixture.flow(), &link.link_token).await.unwrap();
    let call = fixture.membership.calls().pop().unwrap();
    assert_eq!(
        (call.claim_member_id, call.role),
        (s.expected.to_string(), i32::from(Role::Pupil))
    );
});

// A guess could admit a person in a role with more rights.
// Covers: R13 refused
on_both!(unknown_stored_role_is_unavailable, |database| async move {
    parta_testkit::logs().allow("a stored value is not known to this build");
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(2).await;
    let (_, other_token) = fixture.link(2).await;
    let invitation = id.parse::<InvitationId>().unwrap().uuid();
    fixture
        .test_env
        .change_row("invitation", "role = 'PRINCIPAL'", "id", invitation)
        .await;
    for refused in [
        reason(&fixture.resolve(&token).await),
        reason(&fixture.accept(fixture.flow(), &token).await),
    ] {
        assert_eq!(refused, "STORED_VALUE_UNKNOWN");
    }
    // Another invitation of the organization is not affected.
    assert_eq!(reason(&fixture.resolve(&other_token).await), "OK");
});

on_both!(
    unknown_stored_stage_of_a_reservation_is_unavailable,
    |database| async move {
        parta_testkit::logs().allow("a stored value is not known to this build");
        let fixture = Fixture::open(&database).await;
        let (id, token) = fixture.link(2).await;
        let flow = fixture.flow();
        fixture.accept(flow, &token).await.unwrap();
        let invitation = id.parse::<InvitationId>().unwrap().uuid();
        fixture
            .test_env
            .change_row("reservation", "stage = 'paused'", "invitation_id", invitation)
            .await;
        let repeated = fixture.accept(flow, &token).await;
        assert_eq!(reason(&repeated), "STORED_VALUE_UNKNOWN");
    }
);
