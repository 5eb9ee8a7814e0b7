//! Keys over time: rotation, outages of membership, revocation.

use super::*;

#[test]
fn successor_is_published_early_and_the_old_key_is_kept() {
    let (clock, env) = env();
    let start = env.now();
    let mut old = SigningKey::first(KeyPair::generate(&env).unwrap(), start);
    let new = old.successor(KeyPair::generate(&env).unwrap(), start);
    let (old_kid, new_kid) = (old.kid.clone(), new.kid.clone());
    // A key with an immediate retire time stays published while its tokens are valid.
    old.retire_time = Some(new.sign_from);
    let issuer = TokenIssuer::new(vec![old, new], "parta", TimeDelta::minutes(10), env.clone());
    let kid = |issuer: &TokenIssuer| {
        jsonwebtoken::decode_header(ticket(issuer, &env))
            .unwrap()
            .kid
            .unwrap()
    };
    let published = |issuer: &TokenIssuer| {
        issuer
            .jwks()
            .keys
            .into_iter()
            .map(|key| key.kid)
            .collect::<BTreeSet<_>>()
    };
    let both = BTreeSet::from([old_kid.clone(), new_kid.clone()]);
    assert_eq!(published(&issuer), both);
    clock.advance(TimeDelta::seconds(599));
    assert_eq!(kid(&issuer), old_kid);
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(kid(&issuer), new_kid);
    clock.advance(TimeDelta::minutes(10));
    assert_eq!(published(&issuer), both);
    clock.advance(TimeDelta::minutes(2));
    assert_eq!(published(&issuer), BTreeSet::from([new_kid]));
}

#[test]
fn key_announced_late_does_not_sign_early() {
    parta_testkit::run(async {
        let (clock, env) = env();
        let old = SigningKey::first(KeyPair::generate(&env).unwrap(), env.now() - TimeDelta::days(1));
        let mut early_key = SigningKey::first(KeyPair::generate(&env).unwrap(), env.now());
        early_key.kid = "early".to_owned();
        let issuer = TokenIssuer::new(vec![old, early_key], "parta", TimeDelta::minutes(10), env.clone());
        let kid = || {
            jsonwebtoken::decode_header(ticket(&issuer, &env))
                .unwrap()
                .kid
                .unwrap()
        };
        assert_ne!(kid(), "early");
        clock.advance(TimeDelta::minutes(10));
        assert_eq!(kid(), "early");
    });
}

/// While membership is unavailable, the last keys are used. A token with an unknown key is not reported as
/// invalid.
#[test]
fn membership_outage_is_distinct_from_an_invalid_token() {
    parta_testkit::run(async {
        parta_testkit::logs().allow("keys could not be fetched");
        use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
        let test = test_env();
        let (available, fetches) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (is_available, count, jwks) = (available.clone(), fetches.clone(), test.issuer.jwks());
        let fetch: Fetch = Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            let result = if is_available.load(Ordering::SeqCst) {
                Ok(jwks.clone())
            } else {
                Err(parta_status::unavailable("membership"))
            };
            Box::pin(async move {
                tokio::task::yield_now().await;
                result
            })
        });
        let verifier = Verifier::new(JwkSource::fetched(fetch), "parta", test.env.clone());
        let token = |test: &TestEnv| ticket(&test.issuer, &test.env);

        // Without keys, eight concurrent calls share one failure, and none is refused for an invalid token.
        let texts: Vec<_> = (0..8).map(|_| token(&test)).collect();
        for result in futures::future::join_all(texts.iter().map(|text| verifier.caller(text, "rpc"))).await {
            assert!(result.unwrap_err().is(ErrorReason::DependencyUnavailable));
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 1);

        // The next call fetches from membership without waiting for the minimum interval.
        available.store(true, Ordering::SeqCst);
        assert!(verifier.caller(&texts[0], "rpc").await.is_ok());

        // Unavailable again: the old keys are used for a day, and tokens with an unknown key cannot be
        // verified.
        available.store(false, Ordering::SeqCst);
        test.clock.advance(TimeDelta::hours(23));
        assert!(verifier.caller(&token(&test), "rpc").await.is_ok());
        let other_issuer = TokenIssuer::new(
            vec![key(&test.env, "zz", test.env.now())],
            "parta",
            TimeDelta::minutes(10),
            test.env.clone(),
        );
        let unknown = ticket(&other_issuer, &test.env);
        assert!(
            verifier
                .caller(&unknown, "rpc")
                .await
                .unwrap_err()
                .is(ErrorReason::DependencyUnavailable)
        );
        test.clock.advance(TimeDelta::hours(2));
        assert!(
            verifier
                .caller(&token(&test), "rpc")
                .await
                .unwrap_err()
                .is(ErrorReason::DependencyUnavailable)
        );
    });
}

/// A call that is canceled during a fetch leaves neither a held lock nor a wrong result.
#[test]
fn canceled_fetch_does_not_invalidate_tokens() {
    parta_testkit::run(async {
        use std::sync::atomic::{AtomicBool, Ordering};
        let test = test_env();
        let must_hang = Arc::new(AtomicBool::new(true));
        let (hang_flag, jwks) = (must_hang.clone(), test.issuer.jwks());
        let fetch: Fetch = Arc::new(move || {
            let (hangs, jwks) = (hang_flag.load(Ordering::SeqCst), jwks.clone());
            Box::pin(async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                Ok(jwks)
            })
        });
        let verifier = Verifier::new(JwkSource::fetched(fetch), "parta", test.env.clone());
        let token = ticket(&test.issuer, &test.env);
        assert!(futures::FutureExt::now_or_never(verifier.caller(&token, "rpc")).is_none());
        must_hang.store(false, Ordering::SeqCst);
        assert!(verifier.caller(&token, "rpc").await.is_ok());
    });
}

#[test]
fn token_gives_no_permission_that_this_build_does_not_know() {
    let (_, env) = env();
    let claims = |key: Option<String>| crate::tokens::Claims {
        iss: "parta".to_owned(),
        aud: "parta".to_owned(),
        sub: env.id::<parta_ids::ServiceAccountId>().to_string(),
        org: Some(env.id::<parta_ids::OrgId>().to_string()),
        sid: None,
        key,
        link: None,
        permissions: ["future.write", "roster.read", "feed.watch"]
            .map(str::to_owned)
            .to_vec(),
        reads_since: None,
        iat: 0,
        nbf: 0,
        exp: 600,
        jti: env.ids.uuid(),
    };
    let key = env.id::<parta_ids::ServiceAccountKeyId>().to_string();
    let Some(Principal::ServiceAccount { permissions, .. }) = claims(Some(key)).principal() else {
        panic!("the claims are those of a service account");
    };
    assert_eq!(
        permissions,
        BTreeSet::from([ServiceAccountPermission::RosterRead])
    );
    // Without its key, a token could not be revoked.
    assert_eq!(claims(None).principal(), None);
}

#[test]
fn revocation_covers_all_tokens_of_its_session_only() {
    parta_testkit::run(async {
        let test = test_env();
        let (account, org) = (test.env.id(), test.env.id());
        let (session, other) = (test.env.id::<SessionId>(), test.env.id::<SessionId>());
        let id = test.env.id::<parta_ids::ServiceAccountId>();
        let (key, other_key) = (test.env.id(), test.env.id());
        test.verifier.revoke_session(session);
        test.verifier.revoke_service_account_keys(vec![key]);
        let permissions = [ServiceAccountPermission::RosterRead];
        for token in [
            test.issuer.account(account, session).unwrap(),
            test.issuer.person(org, test.env.id(), session).unwrap(),
            test.issuer.service_account(org, id, key, permissions).unwrap(),
        ] {
            assert!(
                test.verifier
                    .caller(&token.text, "rpc")
                    .await
                    .unwrap_err()
                    .is(ErrorReason::CredentialRevoked)
            );
        }
        // Another session of the person, and the other key of the account.
        for token in [
            test.issuer.account(account, other).unwrap(),
            test.issuer
                .service_account(org, id, other_key, permissions)
                .unwrap(),
        ] {
            assert!(test.verifier.caller(&token.text, "rpc").await.is_ok());
        }
        test.clock.advance(TimeDelta::minutes(11));
        let again = test.issuer.service_account(org, id, key, permissions).unwrap();
        let caller = test.verifier.caller(&again.text, "rpc").await.unwrap();
        let (principal, end) = (caller.principal, caller.expire_time.unwrap());
        assert_eq!(end, again.expire_time);
        assert_eq!(
            principal,
            Principal::ServiceAccount {
                org_id: org,
                id,
                key_id: key,
                permissions: BTreeSet::from(permissions)
            }
        );
    });
}

/// The values were computed with another implementation (Python's hmac). Derived secrets are not stored and
/// must never change.
#[test]
fn derived_secrets_never_change() {
    let hex = |bytes: [u8; 32]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let mut master = [0; 32];
    master.iter_mut().zip(0..).for_each(|(byte, i)| *byte = i);
    let secrets = Secrets::new(master);
    assert_eq!(
        hex(secrets.derive("page-token")),
        "81f50cc49d8b22e6eb600b715914c2d93a13dd5a4670e6b62b85ade85a3b90b5"
    );
    assert_eq!(
        hex(secrets.hmac("page-token", b"row")),
        "5cb86e1998a2281d493839360e7afede1e0fa3801ee68e81c3be258db3fcfdc0"
    );
    assert_ne!(secrets.derive("a"), secrets.derive("b"));
    assert_eq!(format!("{secrets:?}"), "Secrets(..)");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn altered_tokens_are_refused(position in 0usize..1_000, with in "[A-Za-z0-9_.=-]") {
        let test = test_env();
        let session = test.env.id::<SessionId>();
        let good = test.issuer.person(test.env.id(), test.env.id(), session).unwrap().text;
        let at = position % good.len();
        let invalid = format!("{}{with}{}", &good[..at], &good[at + 1..]);
        let result = futures::executor::block_on(test.verifier.caller(&invalid, "rpc"));
        proptest::prop_assert!(invalid == good || result.is_err());
    }
}
