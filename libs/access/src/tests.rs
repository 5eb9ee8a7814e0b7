use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{Env, ManualClock, MemberId, OrgId, SeededIds, SessionId};
use parta_proto::status::v1::ErrorReason;
use parta_status::RpcError;

use crate::*;

mod keys;
mod revocations;

fn env() -> (Arc<ManualClock>, Env) {
    let clock = Arc::new(ManualClock::new(
        "2026-09-01T08:00:00Z".parse::<DateTime<Utc>>().unwrap(),
    ));
    (
        clock.clone(),
        Env {
            clock,
            ids: Arc::new(SeededIds::new(7)),
        },
    )
}

fn key(env: &Env, kid: &str, sign_from: DateTime<Utc>) -> SigningKey {
    SigningKey {
        kid: kid.to_owned(),
        pair: KeyPair::generate(env).unwrap(),
        publish_time: sign_from - TimeDelta::minutes(20),
        sign_from,
        retire_time: None,
    }
}

struct TestEnv {
    clock: Arc<ManualClock>,
    env: Env,
    issuer: TokenIssuer,
    verifier: Verifier,
}

fn ticket(issuer: &TokenIssuer, env: &Env) -> String {
    let ticket = issuer.joiner(env.id(), LinkDigest::of("link"), env.id());
    ticket.unwrap().text
}

fn test_env() -> TestEnv {
    let (clock, env) = env();
    let issuer = TokenIssuer::new(
        vec![key(&env, "a", env.now())],
        "parta",
        TimeDelta::minutes(10),
        env.clone(),
    );
    let source = JwkSource::shared();
    source.set(&Jwks::from_json(&issuer.jwks().to_json()).unwrap(), env.now());
    let verifier = Verifier::new(source, "parta", env.clone());
    TestEnv {
        clock,
        env,
        issuer,
        verifier,
    }
}

#[test]
fn token_identifies_its_member_until_it_expires() {
    parta_testkit::run(async {
        let test = test_env();
        let (org, member, session) = (
            test.env.id::<OrgId>(),
            test.env.id::<MemberId>(),
            test.env.id::<SessionId>(),
        );
        let token = test.issuer.person(org, member, session).unwrap();
        let caller = test.verifier.caller(&token.text, "rpc").await.unwrap();
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
        test.clock.advance(TimeDelta::minutes(10));
        assert!(
            test.verifier
                .caller(&token.text, "rpc")
                .await
                .unwrap_err()
                .is(ErrorReason::CredentialExpired)
        );
    });
}

#[test]
fn revoked_session_is_refused_when_its_token_is_cached() {
    parta_testkit::run(async {
        let test = test_env();
        let session = test.env.id::<SessionId>();
        let token = test.issuer.person(test.env.id(), test.env.id(), session).unwrap();
        assert!(test.verifier.caller(&token.text, "rpc").await.is_ok());
        test.verifier.revoke_session(session);
        assert!(
            test.verifier
                .caller(&token.text, "rpc")
                .await
                .unwrap_err()
                .is(ErrorReason::CredentialRevoked)
        );
    });
}

#[test]
fn invalid_tokens_are_refused() {
    parta_testkit::run(async {
        let test = test_env();
        let token = ticket(&test.issuer, &test.env);
        assert!(matches!(
            test.verifier
                .caller(&token, "rpc")
                .await
                .map(|caller| caller.principal),
            Ok(Principal::Joiner { .. })
        ));
        let other_issuer = TokenIssuer::new(
            vec![key(&test.env, "a", test.env.now())],
            "parta",
            TimeDelta::minutes(10),
            test.env.clone(),
        );
        let unknown_key_issuer = TokenIssuer::new(
            vec![key(&test.env, "zz", test.env.now())],
            "parta",
            TimeDelta::minutes(10),
            test.env.clone(),
        );
        let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
        parts[1] = parts[1].replace('e', "f");
        for invalid in [
            String::new(),
            "x".repeat(9_000),
            token[..token.len() - 3].to_owned(),
            parts.join("."),
            "eyJhbGciOiJub25lIn0.e30.".to_owned(),
            ticket(&other_issuer, &test.env),
            ticket(&unknown_key_issuer, &test.env),
        ] {
            assert!(
                test.verifier
                    .caller(&invalid, "rpc")
                    .await
                    .unwrap_err()
                    .is(ErrorReason::CredentialInvalid),
                "{invalid}"
            );
        }
    });
}

#[test]
fn key_is_published_before_it_signs() {
    let (clock, env) = env();
    let old = key(&env, "old", env.now());
    let mut new = key(&env, "new", env.now() + TimeDelta::minutes(20));
    new.publish_time = env.now();
    let issuer = TokenIssuer::new(vec![old, new], "parta", TimeDelta::minutes(10), env.clone());
    assert_eq!(issuer.jwks().keys.len(), 2);
    let kid = |issuer: &TokenIssuer| {
        jsonwebtoken::decode_header(ticket(issuer, &env))
            .unwrap()
            .kid
            .unwrap()
    };
    assert_eq!(kid(&issuer), "old");
    clock.advance(TimeDelta::minutes(21));
    assert_eq!(kid(&issuer), "new");
    assert_eq!(issuer.jwks().keys.len(), 2);
}

#[test]
fn unknown_keys_do_not_overload_membership() {
    parta_testkit::run(async {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let test = test_env();
        let fetches = Arc::new(AtomicUsize::new(0));
        let (count, jwks) = (fetches.clone(), test.issuer.jwks());
        let fetch: Fetch = Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            let jwks = jwks.clone();
            Box::pin(async move { Ok(jwks) })
        });
        let verifier = Verifier::new(JwkSource::fetched(fetch), "parta", test.env.clone());
        assert!(
            verifier
                .caller(&ticket(&test.issuer, &test.env), "rpc")
                .await
                .is_ok()
        );
        let unknown_key_issuer = TokenIssuer::new(
            vec![key(&test.env, "zz", test.env.now())],
            "parta",
            TimeDelta::minutes(10),
            test.env.clone(),
        );
        for _ in 0..50 {
            assert!(
                verifier
                    .caller(&ticket(&unknown_key_issuer, &test.env), "rpc")
                    .await
                    .is_err()
            );
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        test.clock.advance(TimeDelta::seconds(11));
        assert!(
            verifier
                .caller(&ticket(&unknown_key_issuer, &test.env), "rpc")
                .await
                .is_err()
        );
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn service_token_is_valid_for_one_callee_and_one_minute() {
    let (clock, env) = env();
    let pair = KeyPair::generate(&env).unwrap();
    let identity = ServiceIdentity::new("invitation", &pair, env.clone()).unwrap();
    let keys = ServiceKeys::new([("invitation", pair.public())], env.clone()).unwrap();
    let token = identity.mint("membership").unwrap();
    assert_eq!(keys.verify(&token, "membership").unwrap(), "invitation");
    assert!(keys.verify(&token, "chat").is_err());
    let other_issuer =
        ServiceIdentity::new("invitation", &KeyPair::generate(&env).unwrap(), env.clone()).unwrap();
    assert!(
        keys.verify(&other_issuer.mint("membership").unwrap(), "membership")
            .is_err()
    );
    clock.advance(TimeDelta::seconds(70));
    assert!(keys.verify(&token, "membership").is_err());
    assert!(ServiceKeys::new([("x", "short")], env).is_err());
}

// Case 11: the clock of a service is one hour fast, and is then set right.
#[test]
fn service_token_is_minted_again_when_the_clock_is_set_back() {
    let (clock, own) = env();
    let (_, other) = env();
    let pair = KeyPair::generate(&own).unwrap();
    let identity = ServiceIdentity::new("invitation", &pair, own.clone()).unwrap();
    let keys = ServiceKeys::new([("invitation", pair.public())], other.clone()).unwrap();
    let right = other.now();
    clock.set(right + TimeDelta::hours(1));
    assert!(
        keys.verify(&identity.mint("membership").unwrap(), "membership")
            .is_err()
    );
    clock.set(right);
    let token = identity.mint("membership").unwrap();
    assert_eq!(keys.verify(&token, "membership").unwrap(), "invitation");
}

#[test]
fn operator_key_is_recognized_by_its_digest() {
    use secrecy::ExposeSecret as _;
    let (_, env) = env();
    let (text, credential) = OperatorCredential::generate(&env);
    let read = OperatorCredential::from_digest(&credential.to_digest()).unwrap();
    assert!(read.matches(text.expose_secret()));
    assert!(!read.matches(&text.expose_secret().replace("opk_", "opk-")));
    assert_eq!(
        OperatorCredential::from_text(text.expose_secret()).unwrap(),
        credential
    );
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

/// R59: no caller gets access to another organization, regardless of the decision of the policy.
#[test]
fn member_of_another_organization_gets_not_found() {
    let (_, env) = env();
    let (own, other) = (env.id::<OrgId>(), env.id::<OrgId>());
    let caller = Caller::new(
        Principal::Person {
            org_id: own,
            member_id: env.id(),
            session_id: env.id(),
        },
        "parta.x.v1.S/M",
    );
    assert_eq!(authorize(&caller, own, Decision::Allow).unwrap().org_id(), own);
    assert!(
        authorize(&caller, other, Decision::Allow)
            .unwrap_err()
            .is(ErrorReason::NotFound)
    );
    assert!(
        authorize(&caller, own, Decision::Outside)
            .unwrap_err()
            .is(ErrorReason::NotFound)
    );
    assert!(
        authorize(&caller, own, Decision::allow_if(false, "no"))
            .unwrap_err()
            .is(ErrorReason::PermissionDenied)
    );
    let account = Caller::new(
        Principal::ServiceAccount {
            org_id: own,
            id: env.id(),
            key_id: env.id(),
            permissions: BTreeSet::new(),
        },
        "parta.x.v1.S/M",
    );
    assert!(authorize(&account, other, Decision::Allow).is_err());
}

/// Each function that makes a scope accepts the kinds of principals that it names, and no principal of
/// another organization.
#[test]
fn scope_accepts_only_the_principals_that_its_function_names() {
    let (_, env) = env();
    let (own, other) = (env.id::<OrgId>(), env.id::<OrgId>());
    let person = Principal::Person {
        org_id: own,
        member_id: env.id(),
        session_id: env.id(),
    };
    let service_account = Principal::ServiceAccount {
        org_id: own,
        id: env.id(),
        key_id: env.id(),
        permissions: BTreeSet::new(),
    };
    let account = Principal::Account {
        account_id: env.id(),
        session_id: env.id(),
    };
    let joiner = Principal::Joiner {
        flow_id: env.id(),
        link: LinkDigest::of("link"),
        session_id: env.id(),
    };
    let operator = Principal::Operator { name: "one".into() };
    let service = Principal::Service { name: "chat".into() };
    type Make = fn(&Caller, OrgId) -> Result<OrgScope, RpcError>;
    let functions: [Make; 3] = [belongs, service_scope, lookup_scope];
    for (principal, accepting) in [
        (&Principal::Anonymous, [false, false, false]),
        (&person, [true, false, false]),
        (&service_account, [true, false, false]),
        (&account, [false, false, true]),
        (&joiner, [false, false, true]),
        (&operator, [false, false, false]),
        (&service, [false, true, false]),
    ] {
        let caller = Caller::new(principal.clone(), "parta.x.v1.S/M");
        for (function, accepts) in functions.iter().zip(accepting) {
            match function(&caller, own) {
                Ok(scope) => assert!(accepts && scope.org_id() == own, "{principal:?}"),
                Err(refusal) => assert!(!accepts && refusal.is(ErrorReason::NotFound), "{principal:?}"),
            }
        }
        assert!(belongs(&caller, other).is_err(), "{principal:?}");
    }
    // The person on whose behalf a service calls decides about the organization.
    let mut caller = Caller::new(service, "parta.x.v1.S/M");
    caller.on_behalf_of = Some(person);
    assert!(belongs(&caller, own).is_ok() && service_scope(&caller, own).is_ok());
    assert!(belongs(&caller, other).is_err() && service_scope(&caller, other).is_err());
}

#[test]
fn every_rpc_has_a_rule_and_unknown_services_are_errors() {
    let pool = parta_proto_all::descriptor_pool().unwrap();
    let names: Vec<_> = pool
        .services()
        .map(|s| s.full_name().to_owned())
        .filter(|n| n.starts_with("parta."))
        .collect();
    let table = AccessRules::load(pool, &names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    assert!(table.iter().count() > 10);
    assert!(
        table
            .rule("/parta.membership.internal.v1.AdmissionService/AdmitMember")
            .unwrap()
            .accepts_service("invitation")
    );
    assert!(AccessRules::load(pool, &["parta.none.v1.NoService"]).is_err());
}

/// A rule that names a permission which the catalog does not have prevents the start: no account could call
/// the RPC, and nobody would notice.
#[test]
fn rule_with_an_unknown_permission_prevents_the_start() {
    let known = parta_proto_all::descriptor_pool().unwrap().encode_to_vec();
    let (name, other) = (b"membership_feed.read", b"membership_feed.grab");
    let mut altered = known.clone();
    let mut positions = Vec::new();
    for at in 0..altered.len() - name.len() {
        if altered[at..].starts_with(name) {
            positions.push(at);
        }
    }
    assert!(positions.len() >= 3, "each RPC of the feed names its permission");
    for at in positions {
        altered[at..at + name.len()].copy_from_slice(other);
    }
    let feed = ["parta.membership.v1.MembershipFeedService"];
    let load = |set: &[u8]| {
        let pool = prost_reflect::DescriptorPool::decode(set).unwrap();
        AccessRules::load(&pool, &feed)
    };
    assert!(load(&known).is_ok());
    let error = load(&altered).unwrap_err();
    assert!(error.to_string().contains("not in the catalog"), "{error}");
}

#[test]
fn catalog_names_are_unique_and_read_back() {
    let names: BTreeSet<_> = ServiceAccountPermission::ALL.iter().map(|of| of.name()).collect();
    assert_eq!(names.len(), ServiceAccountPermission::ALL.len());
    for permission in ServiceAccountPermission::ALL {
        assert_eq!(permission.name().parse(), Ok(permission));
        let (english, russian) = permission.description();
        assert!(english.ends_with('.') && russian.ends_with('.'), "{permission}");
    }
    for unknown in ["", "feed.watch", "roster.read ", "ROSTER.READ", "roster.*"] {
        assert_eq!(
            unknown.parse::<ServiceAccountPermission>(),
            Err(UnknownPermission)
        );
    }
    let feeds = [
        "org-registry",
        "membership",
        "invitation",
        "chat",
        "call-scheduling",
    ];
    let of_feeds: BTreeSet<_> = feeds
        .iter()
        .filter_map(|of| ServiceAccountPermission::of_feed(of))
        .collect();
    assert_eq!(of_feeds.len(), 5);
    assert_eq!(ServiceAccountPermission::of_feed("other"), None);
}

/// R59: a service with an RPC without a rule does not start.
#[test]
fn rpc_without_a_rule_prevents_the_start() {
    use prost_reflect::prost_types::{FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto};
    let mut pool = parta_proto_all::descriptor_pool().unwrap().clone();
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
    let error = AccessRules::load(&pool, &["parta.bare.v1.BareService"]).unwrap_err();
    assert!(
        matches!(error, AccessError::Rule { ref rpc, .. } if rpc == "parta.bare.v1.BareService.Forget"),
        "{error}"
    );
}
