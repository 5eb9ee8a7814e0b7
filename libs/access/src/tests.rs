use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{Ambient, ManualClock, MemberId, OrgId, SeededIds, SessionId};
use parta_proto::parta::status::v1::ErrorReason;

use crate::*;

mod keys;

fn ambient() -> (Arc<ManualClock>, Ambient) {
    let clock = Arc::new(ManualClock::new(
        "2026-09-01T08:00:00Z".parse::<DateTime<Utc>>().unwrap(),
    ));
    (
        clock.clone(),
        Ambient {
            clock,
            ids: Arc::new(SeededIds::new(7)),
        },
    )
}

fn key(ambient: &Ambient, kid: &str, sign_from: DateTime<Utc>) -> SigningKey {
    SigningKey {
        kid: kid.to_owned(),
        pair: KeyPair::generate(ambient).unwrap(),
        publish_time: sign_from - TimeDelta::minutes(20),
        sign_from,
        retire_time: None,
    }
}

struct World {
    clock: Arc<ManualClock>,
    ambient: Ambient,
    issuer: TokenIssuer,
    verifier: Verifier,
}

fn world() -> World {
    let (clock, ambient) = ambient();
    let issuer = TokenIssuer::new(
        vec![key(&ambient, "a", ambient.now())],
        "parta",
        TimeDelta::minutes(10),
        ambient.clone(),
    );
    let source = JwkSource::shared();
    source.set(&Jwks::from_json(&issuer.jwks().to_json()).unwrap(), ambient.now());
    let verifier = Verifier::new(source, "parta", ambient.clone());
    World {
        clock,
        ambient,
        issuer,
        verifier,
    }
}

#[tokio::test]
async fn a_token_proves_its_member_until_it_ends() {
    let w = world();
    let (org, member, session) = (
        w.ambient.id::<OrgId>(),
        w.ambient.id::<MemberId>(),
        w.ambient.id::<SessionId>(),
    );
    let token = w.issuer.person(org, member, session).unwrap();
    let caller = w.verifier.caller(&token.text, "rpc".into()).await.unwrap();
    let (principal, end) = (caller.principal, caller.expire_time.unwrap());
    assert_eq!(
        principal,
        Principal::Person {
            org_id: org,
            member_id: member,
            session_id: session
        }
    );
    assert!(end <= token.expire_time);
    w.clock.advance(TimeDelta::minutes(10));
    assert!(
        w.verifier
            .caller(&token.text, "rpc".into())
            .await
            .unwrap_err()
            .is(ErrorReason::CredentialExpired)
    );
}

#[tokio::test]
async fn a_revoked_session_is_refused_though_its_token_is_cached() {
    let w = world();
    let session = w.ambient.id::<SessionId>();
    let token = w.issuer.person(w.ambient.id(), w.ambient.id(), session).unwrap();
    assert!(w.verifier.caller(&token.text, "rpc".into()).await.is_ok());
    w.verifier.revoke_session(session);
    assert!(
        w.verifier
            .caller(&token.text, "rpc".into())
            .await
            .unwrap_err()
            .is(ErrorReason::CredentialRevoked)
    );
}

#[tokio::test]
async fn truncated_altered_foreign_and_unsigned_tokens_are_refused() {
    let w = world();
    let token = w.issuer.joiner(w.ambient.id()).unwrap().text;
    assert!(matches!(
        w.verifier
            .caller(&token, "rpc".into())
            .await
            .map(|caller| caller.principal),
        Ok(Principal::Joiner { .. })
    ));
    let stranger = TokenIssuer::new(
        vec![key(&w.ambient, "a", w.ambient.now())],
        "parta",
        TimeDelta::minutes(10),
        w.ambient.clone(),
    );
    let elsewhere = TokenIssuer::new(
        vec![key(&w.ambient, "zz", w.ambient.now())],
        "parta",
        TimeDelta::minutes(10),
        w.ambient.clone(),
    );
    let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    parts[1] = parts[1].replace('e', "f");
    for bad in [
        String::new(),
        "x".repeat(9_000),
        token[..token.len() - 3].to_owned(),
        parts.join("."),
        "eyJhbGciOiJub25lIn0.e30.".to_owned(),
        stranger.joiner(w.ambient.id()).unwrap().text,
        elsewhere.joiner(w.ambient.id()).unwrap().text,
    ] {
        assert!(
            w.verifier
                .caller(&bad, "rpc".into())
                .await
                .unwrap_err()
                .is(ErrorReason::CredentialInvalid),
            "{bad}"
        );
    }
}

#[test]
fn a_key_is_published_before_it_signs_and_the_old_one_stays() {
    let (clock, ambient) = ambient();
    let old = key(&ambient, "old", ambient.now());
    let mut new = key(&ambient, "new", ambient.now() + TimeDelta::minutes(20));
    new.publish_time = ambient.now();
    let issuer = TokenIssuer::new(vec![old, new], "parta", TimeDelta::minutes(10), ambient.clone());
    assert_eq!(issuer.jwks().keys.len(), 2);
    let kid = |issuer: &TokenIssuer| {
        jsonwebtoken::decode_header(issuer.joiner(ambient.id()).unwrap().text)
            .unwrap()
            .kid
            .unwrap()
    };
    assert_eq!(kid(&issuer), "old");
    clock.advance(TimeDelta::minutes(21));
    assert_eq!(kid(&issuer), "new");
    assert_eq!(issuer.jwks().keys.len(), 2);
}

#[tokio::test]
async fn unknown_keys_do_not_make_a_verifier_hammer_membership() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let w = world();
    let fetches = Arc::new(AtomicUsize::new(0));
    let (count, jwks) = (fetches.clone(), w.issuer.jwks());
    let fetch: Fetch = Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        let jwks = jwks.clone();
        Box::pin(async move { Ok(jwks) })
    });
    let verifier = Verifier::new(JwkSource::fetched(fetch), "parta", w.ambient.clone());
    assert!(
        verifier
            .caller(&w.issuer.joiner(w.ambient.id()).unwrap().text, "rpc".into())
            .await
            .is_ok()
    );
    let elsewhere = TokenIssuer::new(
        vec![key(&w.ambient, "zz", w.ambient.now())],
        "parta",
        TimeDelta::minutes(10),
        w.ambient.clone(),
    );
    for _ in 0..50 {
        assert!(
            verifier
                .caller(&elsewhere.joiner(w.ambient.id()).unwrap().text, "rpc".into())
                .await
                .is_err()
        );
    }
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
    w.clock.advance(TimeDelta::seconds(11));
    assert!(
        verifier
            .caller(&elsewhere.joiner(w.ambient.id()).unwrap().text, "rpc".into())
            .await
            .is_err()
    );
    assert_eq!(fetches.load(Ordering::SeqCst), 2);
}

#[test]
fn a_service_proves_itself_to_one_callee_for_a_minute() {
    let (clock, ambient) = ambient();
    let pair = KeyPair::generate(&ambient).unwrap();
    let identity = ServiceIdentity::new("invitation", &pair, ambient.clone()).unwrap();
    let keys = ServiceKeys::new([("invitation", pair.public())], ambient.clone()).unwrap();
    let token = identity.mint("membership").unwrap();
    assert_eq!(keys.verify(&token, "membership").unwrap(), "invitation");
    assert!(keys.verify(&token, "chat").is_err());
    let stranger = ServiceIdentity::new(
        "invitation",
        &KeyPair::generate(&ambient).unwrap(),
        ambient.clone(),
    )
    .unwrap();
    assert!(
        keys.verify(&stranger.mint("membership").unwrap(), "membership")
            .is_err()
    );
    clock.advance(TimeDelta::seconds(70));
    assert!(keys.verify(&token, "membership").is_err());
    assert!(ServiceKeys::new([("x", "short")], ambient).is_err());
}

#[test]
fn the_operators_key_is_recognised_by_its_digest_alone() {
    use secrecy::ExposeSecret as _;
    let (_, ambient) = ambient();
    let (text, kept) = OperatorCredential::generate(&ambient);
    let read = OperatorCredential::from_digest(&kept.to_digest()).unwrap();
    assert!(read.matches(text.expose_secret()));
    assert!(!read.matches(&text.expose_secret().replace("opk_", "opk-")));
    assert_eq!(OperatorCredential::from_text(text.expose_secret()).unwrap(), kept);
    assert!(OperatorCredential::from_text("opk_00000000_x_000000").is_err());
    let short = "opk_00000000_c2hvcnQ";
    let sum: String = {
        use sha2::Digest as _;
        sha2::Sha256::digest(short.as_bytes())
            .iter()
            .take(3)
            .map(|b| format!("{b:02x}"))
            .collect()
    };
    assert!(OperatorCredential::from_text(&format!("{short}_{sum}")).is_err());
    assert!(OperatorCredential::from_digest("ab:cd").is_err());
}

/// R59: nobody enters another organisation, whatever the policy decided.
#[test]
fn a_member_of_another_organisation_is_answered_not_found() {
    let (_, ambient) = ambient();
    let (own, other) = (ambient.id::<OrgId>(), ambient.id::<OrgId>());
    let caller = Caller::new(
        Principal::Person {
            org_id: own,
            member_id: ambient.id(),
            session_id: ambient.id(),
        },
        "parta.x.v1.S/M",
    );
    assert_eq!(require(&caller, own, Decision::Allow).unwrap().org_id(), own);
    assert!(
        require(&caller, other, Decision::Allow)
            .unwrap_err()
            .is(ErrorReason::NotFound)
    );
    assert!(
        require(&caller, own, Decision::Outside)
            .unwrap_err()
            .is(ErrorReason::NotFound)
    );
    assert!(
        require(&caller, own, Decision::allow_if(false, "no"))
            .unwrap_err()
            .is(ErrorReason::PermissionDenied)
    );
    let account = Caller::new(
        Principal::ServiceAccount {
            org_id: own,
            id: ambient.id(),
            permissions: BTreeSet::new(),
        },
        "parta.x.v1.S/M",
    );
    assert!(require(&account, other, Decision::Allow).is_err());
}

#[test]
fn every_rpc_of_the_suite_has_a_rule_and_an_unknown_service_stops_the_start() {
    let pool = parta_proto::descriptor_pool().unwrap();
    let names: Vec<_> = pool
        .services()
        .map(|s| s.full_name().to_owned())
        .filter(|n| n.starts_with("parta."))
        .collect();
    let table = AccessTable::load(&names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    assert!(table.iter().count() > 10);
    assert!(
        table
            .rule("/parta.membership.internal.v1.AdmissionService/AdmitMember")
            .unwrap()
            .accepts_service("invitation")
    );
    assert!(AccessTable::load(&["parta.none.v1.NoService"]).is_err());
}

/// R59: a service with an RPC that nobody has thought about does not start.
#[test]
fn an_rpc_without_a_rule_stops_the_start() {
    use prost_reflect::prost_types::{FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto};
    let mut pool = parta_proto::descriptor_pool().unwrap().clone();
    let method = MethodDescriptorProto {
        name: Some("Forget".to_owned()),
        input_type: Some(".parta.membership.v1.Member".to_owned()),
        output_type: Some(".parta.membership.v1.Member".to_owned()),
        ..MethodDescriptorProto::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("BareService".to_owned()),
        method: vec![method],
        options: None,
    };
    pool.add_file_descriptor_proto(FileDescriptorProto {
        name: Some("bare.proto".to_owned()),
        package: Some("parta.bare.v1".to_owned()),
        dependency: vec!["parta/membership/v1/member.proto".to_owned()],
        service: vec![service],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    })
    .unwrap();
    let error = AccessTable::load_from(&pool, &["parta.bare.v1.BareService"]).unwrap_err();
    assert!(
        matches!(error, AccessError::Rule { ref rpc, .. } if rpc == "parta.bare.v1.BareService.Forget"),
        "{error}"
    );
}
