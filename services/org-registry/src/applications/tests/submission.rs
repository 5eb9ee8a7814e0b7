//! Applications of organizations (R1, R2).
use parta_proto_org_registry::v1::{ApplicationForm, SubmitApplicationRequest};
use parta_testkit::on_both;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tonic::Code;

use crate::tests::fixture::{Fixture, PDF, chunk, form, header, reason_and_fields};

on_both!(
    /// Covers: R1 allowed
    order_is_stored_byte_for_byte_with_its_hash,
    |database| async move {
        let fixture = Fixture::open(database).await;
        // The order is larger than one stored row and than one message.
        let mut order = b"%PDF-1.7\n".to_vec();
        order.extend((0..700_000_u32).map(|n| (n % 251) as u8));
        let created = fixture.submit(&fixture.request_id(), form(1), &order).await.unwrap();
        let sha256: String = Sha256::digest(&order).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(created.order_sha256, sha256);
        let get = json!({"application_id": created.application_id});
        let stored = fixture
            .expect_success(&fixture.operator, "ApplicationService/GetApplication", get.clone())
            .await["application"]
            .take();
        assert_eq!(stored["order"]["sha256"], json!(sha256));
        assert_eq!(stored["order"]["size_bytes"], json!(order.len().to_string()));
        assert_eq!(stored["order"]["content_type"], json!("application/pdf"));
        assert_eq!(stored["form"]["administrator_phone"], json!("+79160000001"));
        assert_eq!(stored["state"], json!("APPLICATION_STATE_SUBMITTED"));
        assert_eq!(fixture.download(&created.application_id).await, order);
        fixture.close().await;
    }
);

on_both!(
    /// Covers: R1 refused
    every_invalid_field_of_a_form_is_returned_at_once,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let before = fixture.rows().await;
        let bad = ApplicationForm {
            organization_name: "\u{0}".to_owned(),
            kind: 77,
            region: "a\u{7}b".to_owned(),
            ogrn: "1027700132196".to_owned(),
            kpp: "77050100".to_owned(),
            time_zone: "Europe/Nowhere".to_owned(),
            head_full_name: " ".to_owned(),
            administrator_full_name: "я".repeat(201),
            administrator_email: "nobody".to_owned(),
            administrator_phone: "12".to_owned(),
        };
        let status = fixture.submit(&fixture.request_id(), bad, b"MZ").await.unwrap_err();
        let (reason, fields) = reason_and_fields(&status);
        assert_eq!((status.code(), reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
        let expected = [
            "chunk",
            "header.form.administrator_email",
            "header.form.administrator_full_name",
            "header.form.administrator_phone",
            "header.form.head_full_name",
            "header.form.kind",
            "header.form.kpp",
            "header.form.ogrn",
            "header.form.organization_name",
            "header.form.region",
            "header.form.time_zone",
        ];
        assert_eq!(fields, expected);
        assert_eq!(fixture.rows().await, before);
        fixture.close().await;
    }
);

on_both!(
    each_text_field_rejects_forbidden_characters,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let before = fixture.rows().await;
        type Spoil = fn(&mut ApplicationForm) -> &mut String;
        let fields: [(&str, Spoil); 9] = [
            ("organization_name", |f| &mut f.organization_name),
            ("region", |f| &mut f.region),
            ("ogrn", |f| &mut f.ogrn),
            ("kpp", |f| &mut f.kpp),
            ("time_zone", |f| &mut f.time_zone),
            ("head_full_name", |f| &mut f.head_full_name),
            ("administrator_full_name", |f| &mut f.administrator_full_name),
            ("administrator_email", |f| &mut f.administrator_email),
            ("administrator_phone", |f| &mut f.administrator_phone),
        ];
        for (name, set_unknown_value) in fields {
            for dirt in ["\u{0}", "\u{1b}[2J", "\u{7f}"] {
                let mut bad = form(1);
                set_unknown_value(&mut bad).push_str(dirt);
                set_unknown_value(&mut bad).push('1');
                let status = fixture.submit(&fixture.request_id(), bad, PDF).await.unwrap_err();
                assert_eq!(
                    reason_and_fields(&status),
                    ("FIELD_INVALID".to_owned(), vec![format!("header.form.{name}")])
                );
            }
            let mut bad = form(1);
            set_unknown_value(&mut bad).clear();
            let status = fixture.submit(&fixture.request_id(), bad, PDF).await.unwrap_err();
            assert_eq!(
                reason_and_fields(&status).1,
                [format!("header.form.{name}")],
                "empty"
            );
        }
        assert_eq!(fixture.rows().await, before);
        fixture.close().await;
    }
);

on_both!(
    stream_without_exactly_one_first_header_is_rejected,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let before = fixture.rows().await;
        let id = fixture.request_id();
        let nothing = SubmitApplicationRequest {
            request_id: id.clone(),
            part: None,
        };
        let (head, body) = (header(&id, form(1)), chunk(PDF));
        for (field, messages) in [
            ("header", vec![]),
            ("header", vec![nothing.clone()]),
            ("header", vec![body.clone(), head.clone()]),
            ("header", vec![head.clone(), body.clone(), head.clone()]),
            ("chunk", vec![head.clone()]),
            ("chunk", vec![head.clone(), nothing, body.clone()]),
            ("request_id", vec![header("", form(1)), body.clone()]),
            ("request_id", vec![header("not a uuid", form(1)), body.clone()]),
        ] {
            let status = fixture.send(&None, messages).await.unwrap_err();
            assert_eq!(
                (status.code(), reason_and_fields(&status).1),
                (Code::InvalidArgument, vec![field.to_owned()])
            );
        }
        assert_eq!(fixture.rows().await, before);
        fixture.close().await;
    }
);

on_both!(order_is_limited_to_scans_of_20_mib, |database| async move {
    let fixture = Fixture::open(database).await;
    let limit = 20 * 1024 * 1024;
    for (number, kind, start) in [
        (1, "application/pdf", &b"%PDF-"[..]),
        (2, "image/jpeg", b"\xFF\xD8\xFF\xE0"),
        (3, "image/png", b"\x89PNG\r\n\x1a\n"),
    ] {
        let created = fixture
            .submit(&fixture.request_id(), form(number), start)
            .await
            .unwrap();
        let get = json!({"application_id": created.application_id});
        let stored = fixture
            .expect_success(&fixture.operator, "ApplicationService/GetApplication", get)
            .await;
        assert_eq!(stored["application"]["order"]["content_type"], json!(kind));
    }
    let before = fixture.rows().await;
    for start in [&b"PK\x03\x04"[..], b"<svg/>", b" %PDF-1.7", b"%PDF", b"GIF89a"] {
        let status = fixture
            .submit(&fixture.request_id(), form(4), start)
            .await
            .unwrap_err();
        assert_eq!(
            reason_and_fields(&status),
            ("FIELD_INVALID".to_owned(), vec!["chunk".to_owned()])
        );
    }
    let mut order = PDF.to_vec();
    order.resize(limit + 1, b' ');
    let status = fixture
        .submit(&fixture.request_id(), form(4), &order)
        .await
        .unwrap_err();
    assert_eq!(
        reason_and_fields(&status),
        ("FIELD_INVALID".to_owned(), vec!["chunk".to_owned()])
    );
    assert_eq!(fixture.rows().await, before);
    order.truncate(limit);
    fixture
        .submit(&fixture.request_id(), form(4), &order)
        .await
        .unwrap();
    fixture.close().await;
});

on_both!(repeated_application_is_stored_once, |database| async move {
    let fixture = Fixture::open(database).await;
    let id = fixture.request_id();
    let first = fixture.submit(&id, form(1), PDF).await.unwrap();
    let rows = fixture.rows().await;
    // A repetition may divide the document into different messages.
    let cut = vec![header(&id, form(1)), chunk(&PDF[..7]), chunk(&PDF[7..])];
    assert_eq!(fixture.send(&None, cut).await.unwrap(), first);
    for (form, document) in [(form(2), PDF), (form(1), &b"%PDF-another"[..])] {
        let status = fixture.submit(&id, form, document).await.unwrap_err();
        assert_eq!(reason_and_fields(&status).0, "REQUEST_ID_REUSED");
    }
    assert_eq!(fixture.rows().await, rows);
    fixture.close().await;
});

on_both!(
    /// Covers: R2 refused
    organization_applies_once_until_it_is_refused,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let first = fixture.submit(&fixture.request_id(), form(1), PDF).await.unwrap();
        let rows = fixture.rows().await;
        let mut again = form(1);
        again.organization_name = "Другое имя".to_owned();
        let status = fixture.submit(&fixture.request_id(), again.clone(), PDF).await.unwrap_err();
        assert_eq!(
            (status.code(), reason_and_fields(&status).0.as_str()),
            (Code::AlreadyExists, "APPLICATION_DUPLICATE")
        );
        assert_eq!(fixture.rows().await, rows);
        // Branches differ by their КПП.
        let mut branch = form(1);
        branch.kpp = "770102001".to_owned();
        fixture.submit(&fixture.request_id(), branch, PDF).await.unwrap();
        let refuse = json!({"application_id": first.application_id, "reason": "Приказ без печати"});
        fixture
            .expect_success(&fixture.operator, "ApplicationService/RefuseApplication", refuse)
            .await;
        let second = fixture.submit(&fixture.request_id(), again, PDF).await.unwrap();
        assert_ne!(second.application_id, first.application_id);
        let approve = json!({"application_id": second.application_id});
        fixture
            .expect_success(&fixture.operator, "ApplicationService/ApproveApplication", approve)
            .await;
        let status = fixture.submit(&fixture.request_id(), form(1), PDF).await.unwrap_err();
        assert_eq!(reason_and_fields(&status).0, "APPLICATION_DUPLICATE");
        fixture.close().await;
    }
);
