//! Links of a member who is suspended or was removed, and the tickets with which links are accepted.
use super::*;

// The open link and the link for a child stop while the class teacher who made them is suspended. They work
// again when the suspension is lifted.
// Covers: R82 refused, F8 allowed, F8 refused
on_both_topologies!(links_of_a_suspended_issuer_stop, |suite: Suite| async move {
    let school = suite.school("Школа № 1").await;
    let class = school.class("5А").await;
    let leader = school.class_teacher("Анна Белова", &class).await;
    let child = school.pupil(&leader, "Иван Иванов", &class).await;
    let of_class = json!({"role": "ROLE_PUPIL", "unit_id": class, "max_uses": 2});
    let of_child = json!({
        "role": "ROLE_PARENT", "unit_id": class, "child_id": child.member_id, "max_uses": 2,
    });
    let links = [
        school.link(&leader, of_class).await,
        school.link(&leader, of_child).await,
    ];
    let nobody = suite.anonymous();
    let resolve = |link: &String| json!({"link_token": link});
    for link in &links {
        nobody
            .must("InvitationService/ResolveInvitation", resolve(link))
            .await;
    }
    let by = &school.administrator.client;
    let suspend = json!({"member_id": leader.member_id, "cause": "проверка"});
    let made = by.must("SuspensionService/SuspendMember", suspend).await;
    let account = suite.newcomer("Ольга Иванова").await;
    for link in &links {
        let refused = nobody
            .refused("InvitationService/ResolveInvitation", resolve(link))
            .await;
        assert_eq!(refused.reason, "INVITATION_NOT_USABLE");
        let joiner = account.joiner(link).await;
        let accept = json!({"link_token": link});
        let refused = joiner.refused("InvitationService/AcceptInvitation", accept).await;
        assert_eq!(refused.reason, "INVITATION_NOT_USABLE");
    }
    let lift = json!({
        "org_id": school.org_id, "suspension_id": made["suspension"]["id"], "cause": "не подтвердилось",
    });
    suite
        .operator()
        .must("SuspensionService/ReinstateMember", lift)
        .await;
    for link in &links {
        nobody
            .must("InvitationService/ResolveInvitation", resolve(link))
            .await;
    }
    account.join(&links[1], &leader).await;
});

// Case 42: a ticket for one link opens no other one, and it ends with its session.
// Covers: R16 refused, R29 allowed, R29 refused
on_both_topologies!(
    join_ticket_is_for_one_link_and_session,
    |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Анна Белова", &class).await;
        let child = school.pupil(&leader, "Иван Иванов", &class).await;
        let of_child = json!({
            "role": "ROLE_PARENT", "unit_id": class, "child_id": child.member_id, "max_uses": 2,
        });
        let link = school.link(&leader, of_child.clone()).await;
        let other = school.link(&leader, of_child).await;
        let mother = suite.newcomer("Ольга Иванова").await;
        let (rpc, accept) = ("InvitationService/AcceptInvitation", json!({"link_token": link}));
        let refused = mother.joiner(&other).await.refused(rpc, accept.clone()).await;
        assert_eq!(refused.reason, "INVITATION_NOT_USABLE");
        let stolen = mother.joiner(&link).await;
        mother
            .client
            .must("AuthenticationService/EndSession", json!({}))
            .await;
        let probe = json!({"link_token": link});
        eventually("the ticket is revoked", async || {
            let resolved = stolen
                .call("InvitationService/ResolveInvitation", probe.clone())
                .await;
            (reason(&resolved.err()?) == "CREDENTIAL_REVOKED").then_some(())
        })
        .await;
        assert_eq!(stolen.refused(rpc, accept).await.reason, "CREDENTIAL_REVOKED");
        // Another session of the person uses the link.
        let again = suite.sign_in(&mother.phone, "Ольга Иванова").await;
        again.join(&link, &leader).await;
    }
);

// Case 19: a parent who becomes a teacher claims the record of the expected teacher. The person has one
// record, the one that the child and the chats know, and teaches the class in every service.
// Covers: F10 allowed, F4 allowed
on_both_topologies!(parent_claims_the_record_of_a_teacher, |suite: Suite| async move {
    let school = suite.school("Школа № 1").await;
    let class = school.class("5А").await;
    let leader = school.class_teacher("Анна Белова", &class).await;
    let child = school.pupil(&leader, "Иван Иванов", &class).await;
    let mother = school.parent(&leader, "Ольга Иванова", &child, &class).await;
    let by = &school.administrator.client;
    let expected = json!({"full_name": "Ольга Иванова", "role": "ROLE_TEACHER"});
    let record = by.must("MemberService/CreateMember", expected).await["member"]["id"].clone();
    let assign = json!({
        "member_id": record, "unit_id": class, "kind": "ASSIGNMENT_KIND_SUBJECT_TEACHER",
    });
    by.must("AssignmentService/CreateAssignment", assign).await;
    let claim = json!({
        "role": "ROLE_TEACHER", "claim_member_id": record, "recipient_label": "Ольга Иванова",
        "recipient_address": mother.account.phone,
    });
    let link = school.link(&school.administrator, claim).await;
    let teacher = mother.account.join(&link, &school.administrator).await;
    assert_eq!(teacher.member_id, mother.member_id);
    assert_eq!(
        chat_of(&teacher, "CHAT_KIND_CLASS_PUPILS").await,
        None,
        "the badge is not that of the record"
    );
    let verify = json!({"member_id": teacher.member_id, "evidence": "приказ № 7"});
    by.must("MemberService/VerifyTeacher", verify).await;
    let pupils = chat_of(&teacher, "CHAT_KIND_CLASS_PUPILS").await.unwrap();
    send(&teacher.client, &pupils, "Здравствуйте").await.unwrap();
    assert!(chat_of(&teacher, "CHAT_KIND_CLASS_PARENTS").await.is_some());
    assert!(may_write_to(&teacher, &child).await);
    // The link names a record that is nobody's any longer.
    let again = json!({"link_token": link});
    let refused = suite
        .anonymous()
        .refused("InvitationService/ResolveInvitation", again)
        .await;
    assert_eq!(refused.reason, "INVITATION_NOT_USABLE");
});

// A person whose request came by a link that is revoked sees that, and nobody decides about the request
// any longer.
// Covers: F8 refused, R18 refused
on_both_topologies!(revoked_link_ends_its_requests, |suite: Suite| async move {
    let school = suite.school("Школа № 1").await;
    let class = school.class("5А").await;
    let leader = school.class_teacher("Анна Белова", &class).await;
    let of_class = json!({"role": "ROLE_PUPIL", "unit_id": class, "max_uses": 2});
    let made = leader
        .client
        .must("InvitationService/CreateInvitation", of_class)
        .await;
    let link = made["link"]["link_token"].as_str().unwrap();
    let person = suite.newcomer("Иван Иванов").await;
    let joiner = person.joiner(link).await;
    let accept = json!({"link_token": link});
    let requested = joiner.must("InvitationService/AcceptInvitation", accept).await;
    let revoke = json!({"invitation_id": made["invitation"]["id"]});
    leader
        .client
        .must("InvitationService/RevokeInvitation", revoke.clone())
        .await;
    eventually("the request has ended", async || {
        let own = person
            .client
            .must("JoinRequestService/ListOwnJoinRequests", json!({}))
            .await;
        (own["join_requests"][0]["state"] == "JOIN_REQUEST_STATE_INVITATION_REVOKED").then_some(())
    })
    .await;
    let decide = json!({
        "decisions": [{"join_request_id": requested["join_request_id"], "accept": true}],
    });
    let refused = leader
        .client
        .refused("JoinRequestService/DecideJoinRequests", decide)
        .await;
    assert_eq!(refused.reason, "JOIN_REQUEST_DECIDED");
    eventually("the use is given back", async || {
        let seen = leader
            .client
            .must("InvitationService/GetInvitation", revoke.clone())
            .await;
        (seen["invitation"]["use_count"] == 0 || seen["invitation"]["use_count"].is_null()).then_some(())
    })
    .await;
});

// The links for children of a teacher who was removed for a cause stop until the administration adopts them.
// Those of a teacher who was removed without one remain usable.
// Covers: F8 allowed, F8 refused
on_both_topologies!(
    links_of_an_issuer_removed_for_cause_stop,
    |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let other_class = school.class("6Б").await;
        let removed = school.class_teacher("Анна Белова", &class).await;
        let retired = school.class_teacher("Олег Волков", &other_class).await;
        let child = school.pupil(&removed, "Иван Иванов", &class).await;
        let other_child = school.pupil(&retired, "Пётр Петров", &other_class).await;
        let of_child = |class: &str, child: &Person| json!({"role": "ROLE_PARENT", "unit_id": class, "child_id": child.member_id});
        let made = removed
            .client
            .must("InvitationService/CreateInvitation", of_child(&class, &child))
            .await;
        let stopped = json!({"link_token": made["link"]["link_token"]});
        let kept = school.link(&retired, of_child(&other_class, &other_child)).await;
        let nobody = suite.anonymous();
        nobody
            .must("InvitationService/ResolveInvitation", stopped.clone())
            .await;
        let by = &school.administrator.client;
        let for_cause = json!({"member_id": removed.member_id, "cause": "приказ № 7"});
        by.must("MemberService/RemoveMember", for_cause).await;
        let without = json!({"member_id": retired.member_id});
        by.must("MemberService/RemoveMember", without).await;
        // The next caller has no consistency token: after this call invitation has read the removal.
        let get = json!({"invitation_id": made["invitation"]["id"]});
        let seen = by.must("InvitationService/GetInvitation", get).await;
        assert_eq!(seen["invitation"]["stop"], "INVITATION_STOP_ISSUER");
        let refused = nobody
            .refused("InvitationService/ResolveInvitation", stopped.clone())
            .await;
        assert_eq!(refused.reason, "INVITATION_NOT_USABLE");
        let resolve = json!({"link_token": kept});
        nobody.must("InvitationService/ResolveInvitation", resolve).await;
        let adopt = json!({"invitation_ids": [made["invitation"]["id"]]});
        by.must("InvitationService/AdoptInvitations", adopt).await;
        nobody.must("InvitationService/ResolveInvitation", stopped).await;
    }
);
