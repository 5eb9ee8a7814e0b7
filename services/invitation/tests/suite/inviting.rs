//! Who invites whom, and what a link tells.
use parta_ids::MemberId;
use parta_proto::parta::{
    invitation::v1 as pb,
    membership::v1::{
        MemberState, Role, RosterImportStaged, StagedInvitation, membership_event::Payload as Said,
    },
};

use crate::{
    house::{House, with},
    world::reason,
};

async fn may(house: &House, member: MemberId, role: Role) -> String {
    reason(&house.create(member, house.wanted(role)).await)
}

/// Staff by the administration only; pupils by a teacher of the class; parents by the class teacher, and by other
/// verified teachers of the class under the policy only; an unverified teacher, pupils and parents invite nobody.
/// Covers: R14 allowed, R14 refused, R22 refused
#[tokio::test]
async fn each_role_invites_whom_it_may() {
    with(async |house| {
        let s = house.school;
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
                assert_eq!(may(&house, member, role).await, expected, "{role:?}");
            }
        }
        s.let_class_staff_invite_parents(&house.world, true).await;
        assert_eq!(may(&house, s.teacher, Role::Parent).await, "OK");
        assert_eq!(may(&house, s.unverified, Role::Parent).await, "PERMISSION_DENIED");
        assert_eq!(may(&house, s.stranger, Role::Parent).await, "PERMISSION_DENIED");
    })
    .await;
}

/// Covers: R13 allowed, R13 refused, R14 allowed, R14 refused
#[tokio::test]
async fn a_link_is_what_its_role_allows() {
    with(async |house| {
        let s = house.school;
        let made = house
            .create(s.class_teacher, house.wanted(Role::Parent))
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

        // A roster record without an account is a child like any other.
        let wanted = pb::CreateInvitationRequest {
            child_id: s.expected.to_string(),
            ..house.wanted(Role::Parent)
        };
        assert_eq!(reason(&house.create(s.class_teacher, wanted).await), "OK");
        let wanted = pb::CreateInvitationRequest {
            child_id: s.other_pupil.to_string(),
            ..house.wanted(Role::Parent)
        };
        assert_eq!(
            reason(&house.create(s.class_teacher, wanted).await),
            "CHILD_NOT_IN_UNIT"
        );
        let wanted = pb::CreateInvitationRequest {
            claim_member_id: s.pupil.to_string(),
            ..house.wanted(Role::Pupil)
        };
        assert_eq!(
            reason(&house.create(s.class_teacher, wanted).await),
            "MEMBER_NOT_EXPECTED"
        );
        let wanted = pb::CreateInvitationRequest {
            claim_member_id: s.expected.to_string(),
            ..house.wanted(Role::Pupil)
        };
        assert_eq!(reason(&house.create(s.class_teacher, wanted).await), "OK");
        let wanted = pb::CreateInvitationRequest {
            unit_id: s.staff_room.to_string(),
            ..house.wanted(Role::Pupil)
        };
        assert_eq!(
            reason(&house.create(s.administrator, wanted).await),
            "UNIT_NOT_SUITABLE"
        );
        s.archive(&house.world, s.class).await;
        assert_eq!(
            may(&house, s.administrator, Role::Pupil).await,
            "UNIT_NOT_SUITABLE"
        );
    })
    .await;
}

/// Every fault of a request is told at once.
/// Covers: R13 refused
#[tokio::test]
async fn a_malformed_request_is_told_all_its_faults() {
    with(async |house| {
        let wanted = pb::CreateInvitationRequest {
            max_uses: 2,
            ttl: Some(prost_types::Duration {
                seconds: 31 * 86_400,
                nanos: 0,
            }),
            recipient_label: String::new(),
            child_id: house.school.pupil.to_string(),
            ..house.wanted(Role::Teacher)
        };
        let status = house
            .create(house.school.administrator, wanted)
            .await
            .unwrap_err();
        let refusal = parta_status::Refusal::from_status(&status).unwrap();
        let mut fields: Vec<_> = refusal.fields().iter().map(|(path, _)| path.as_str()).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["child_id", "max_uses", "recipient_label", "ttl"]);
    })
    .await;
}

/// The secret is answered again although it is not stored.
/// Covers: R13 allowed, R13 refused
#[tokio::test]
async fn a_repeated_creation_answers_the_same_link() {
    with(async |house| {
        let wanted = house.wanted(Role::Pupil);
        let first = house.create(house.school.teacher, wanted.clone()).await.unwrap();
        let again = house.create(house.school.teacher, wanted.clone()).await.unwrap();
        assert_eq!(first, again);
        let other = pb::CreateInvitationRequest {
            max_uses: 3,
            ..wanted
        };
        assert_eq!(
            reason(&house.create(house.school.teacher, other).await),
            "REQUEST_ID_REUSED"
        );

        let id = first.invitation.unwrap().id;
        let ask = |member| {
            let request = pb::GetInvitationLinkRequest {
                org_id: house.school.org.to_string(),
                invitation_id: id.clone(),
            };
            let (mut client, request) = (
                house.client.clone(),
                house.world.by(house.school.org, member, request),
            );
            async move { client.get_invitation_link(request).await }
        };
        let link = ask(house.school.teacher).await.unwrap().into_inner().link;
        assert_eq!(link, first.link);
        assert_eq!(
            ask(house.school.administrator).await.unwrap().into_inner().link,
            first.link
        );
        assert_eq!(
            reason(&ask(house.school.class_teacher).await),
            "PERMISSION_DENIED"
        );
        assert_eq!(reason(&ask(house.school.pupil).await), "PERMISSION_DENIED");
    })
    .await;
}

/// From another school nothing is there, and a link of one school cannot name people of another.
/// Covers: R59 refused
#[tokio::test]
async fn another_school_sees_nothing() {
    with(async |house| {
        let other = crate::school::School::found(&house.world).await;
        let (id, _) = house.link(1).await;
        let mut client = house.client.clone();
        let org_id = house.school.org.to_string();
        let get = pb::GetInvitationRequest {
            org_id: org_id.clone(),
            invitation_id: id.clone(),
        };
        let outcome = client
            .get_invitation(house.world.by(other.org, other.administrator, get))
            .await;
        assert_eq!(reason(&outcome), "NOT_FOUND");
        let get = pb::GetInvitationRequest {
            org_id: other.org.to_string(),
            invitation_id: id,
        };
        let outcome = client
            .get_invitation(house.world.by(other.org, other.administrator, get))
            .await;
        assert_eq!(reason(&outcome), "NOT_FOUND");
        let list = pb::ListInvitationsRequest {
            org_id,
            ..Default::default()
        };
        let outcome = client
            .list_invitations(house.world.by(other.org, other.administrator, list))
            .await;
        assert_eq!(reason(&outcome), "NOT_FOUND");
        let list = pb::ListInvitationsRequest {
            org_id: other.org.to_string(),
            ..Default::default()
        };
        let seen = client
            .list_invitations(house.world.by(other.org, other.administrator, list))
            .await
            .unwrap();
        assert_eq!(seen.into_inner().invitations.len(), 0);
        let wanted = pb::CreateInvitationRequest {
            unit_id: other.class.to_string(),
            ..house.wanted(Role::Pupil)
        };
        assert_eq!(
            reason(&house.create(house.school.administrator, wanted).await),
            "NOT_FOUND"
        );
        let wanted = pb::CreateInvitationRequest {
            child_id: other.pupil.to_string(),
            ..house.wanted(Role::Parent)
        };
        assert_eq!(
            reason(&house.create(house.school.administrator, wanted).await),
            "CHILD_NOT_IN_UNIT"
        );
    })
    .await;
}

/// A link tells where it leads and never a child; the code opens the same, typed as people type.
/// Covers: R13 allowed
#[tokio::test]
async fn a_link_tells_where_it_leads() {
    with(async |house| {
        let made = house
            .create(house.school.class_teacher, house.wanted(Role::Parent))
            .await
            .unwrap();
        let link = made.link.unwrap();
        let told = house.resolve(&link.link_token).await.unwrap();
        assert_eq!(told.organization_display_name, "Школа № 5");
        assert_eq!((told.role(), told.unit_label.as_str()), (Role::Parent, "5А"));
        let typed = link
            .code
            .to_lowercase()
            .replace('-', " ")
            .replace('0', "o")
            .replace('1', "l");
        let secret = Some(pb::resolve_invitation_request::Secret::Code(typed));
        let by_code = house
            .client
            .clone()
            .resolve_invitation(pb::ResolveInvitationRequest { secret })
            .await
            .unwrap();
        assert_eq!(by_code.into_inner(), told);
        let none = house
            .client
            .clone()
            .resolve_invitation(pb::ResolveInvitationRequest { secret: None })
            .await;
        assert_eq!(reason(&none), "FIELD_INVALID");
    })
    .await;
}

/// The administration sees all, other staff the own ones, page by page.
/// Covers: R13 allowed, R13 refused
#[tokio::test]
async fn lists_are_paged_and_show_what_concerns() {
    with(async |house| {
        let s = house.school;
        for member in [s.administrator, s.class_teacher, s.class_teacher, s.teacher] {
            house.create(member, house.wanted(Role::Pupil)).await.unwrap();
        }
        let list = async |member, page_size, page_token: &str, unused| {
            let request = pb::ListInvitationsRequest {
                org_id: s.org.to_string(),
                page_size,
                page_token: page_token.to_owned(),
                unused,
                ..Default::default()
            };
            house
                .client
                .clone()
                .list_invitations(house.world.by(s.org, member, request))
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
    })
    .await;
}

/// A staged import makes one single-use link for each expected member, however often it is told.
/// Covers: R31 allowed
#[tokio::test]
async fn an_import_makes_each_link_once() {
    with(async |house| {
        let s = house.school;
        let teacher: MemberId = house.world.ambient.id();
        s.admit(&house.world, teacher, Role::Teacher, MemberState::Expected, false)
            .await;
        let staged = RosterImportStaged {
            roster_import_id: house.world.ambient.id::<parta_ids::RosterImportId>().to_string(),
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
            house
                .world
                .hear(s.org, Said::RosterImportStaged(staged.clone()))
                .await;
        }
        let request = pb::ListInvitationsRequest {
            org_id: s.org.to_string(),
            ..Default::default()
        };
        let request = house.world.by(s.org, s.administrator, request);
        let made = house
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
        let request = house.world.by(s.org, s.administrator, request);
        let link = house
            .client
            .clone()
            .get_invitation_link(request)
            .await
            .unwrap()
            .into_inner()
            .link
            .unwrap();
        house.accept(house.flow(), &link.link_token).await.unwrap();
        let asked = house.membership.calls().pop().unwrap();
        assert_eq!(
            (asked.claim_member_id, asked.role),
            (s.expected.to_string(), i32::from(Role::Pupil))
        );
    })
    .await;
}
