//! Calls every RPC with a used `request_id`, with a page token of another list, and with invalid credentials.
use std::collections::BTreeSet;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use parta_access::{KeyPair, PrincipalKind as Kind, SigningKey, TokenIssuer};
use parta_ids::Env;
use parta_integration_tests::{Suite, TwoSchools, permissions, reason};
use parta_status::RpcError;
use parta_testkit::dynamic;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::permissions::{call_rpc, samples::sample, served, service};

/// Returns a permitted kind of caller, preferably the administrator.
fn welcome(rpc: &str) -> Option<Kind> {
    let rows = permissions::rows();
    let mut kinds: Vec<_> = rows
        .iter()
        .filter(|r| r.rpc == rpc && r.own)
        .map(|r| r.kind)
        .collect();
    kinds.sort_by_key(|kind| *kind != Kind::Administrator);
    kinds.first().copied()
}

/// Changes a sample so that it differs from an identical second sample.
fn altered(two_schools: &TwoSchools, rpc: &str, mut body: Value) -> Value {
    match rpc.rsplit_once('/').unwrap().1 {
        "UpdateOrganization" => body["organization"]["region"] = json!("Омск"),
        "PreviewPolicies" | "UpdatePolicies" => body["policies"]["unused_after"] = json!("7200s"),
        "PlanCall" | "CreateChat" => body["title"] = json!("Другое"),
        "SendMessage" => body["text"] = json!("Другое"),
        "CreateInvitation" => body["max_uses"] = json!(2),
        "CreateMember" => body["full_name"] = json!("Другой Человек"),
        "CreateServiceAccount" => body["display_name"] = json!("Другое"),
        "BulkRevokeInvitations" => body["condition"] = json!("REVOCATION_CONDITION_IDLE"),
        "RequestVerification" => body["evidence"] = json!("диплом № 8"),
        "RefuseVerification" => body["member_id"] = json!(two_schools.own.pupil.member_id),
        "EndActingHead" => body["cause"] = json!("другая причина"),
        "ChooseAdultAccess" => body["access"] = json!("ADULT_ACCESS_UNIT_ROOMS"),
        "CreateDirectChat" => body["member_id"] = json!(two_schools.people[&Kind::Teacher].member_id),
        "CreateJoinTicket" => body["invitation_token"] = json!(two_schools.foreign.link),
        _ => {}
    }
    body
}

/// Removes the values that are signed again for each response, because they are not stored.
fn lasting(response: &Value) -> Value {
    let mut response = response.clone();
    for signed in ["access_token", "ticket", "expire_time"] {
        response.as_object_mut().unwrap().remove(signed);
    }
    response
}

fn fields(status: &Status) -> Vec<String> {
    let refusal = RpcError::from_status(status);
    let named = refusal
        .iter()
        .flat_map(RpcError::fields)
        .map(|(path, _)| path.clone());
    named.collect()
}

#[test]
fn request_id_is_refused_when_the_request_differs() {
    parta_testkit::run(async {
        let suite = Suite::one_process().await;
        let two_schools = TwoSchools::new(&suite).await;
        let (mut wrong, mut called) = (Vec::new(), BTreeSet::new());
        for rpc in served() {
            let method = dynamic::method(&rpc);
            if method.input().get_field_by_name("request_id").is_none() || method.is_client_streaming() {
                continue;
            }
            let Some(kind) = welcome(&rpc) else { continue };
            let (caller, mut first) = sample(&two_schools, &two_schools.own, kind, true, &rpc).await;
            if caller.is_some() {
                continue; // Each sample has its own caller, and ids are unique per caller only.
            }
            let client = two_schools.client(kind, service(&rpc));
            first["request_id"] = json!(client.request_id());
            let second = if rpc.ends_with("/EndActingHead") {
                // An organization has one acting head, so that a second sample would end the first.
                first.clone()
            } else {
                sample(&two_schools, &two_schools.own, kind, true, &rpc).await.1
            };
            let mut second = altered(&two_schools, &rpc, second);
            second["request_id"] = first["request_id"].clone();
            let responses = [
                client.call(&rpc, first.clone()).await,
                client.call(&rpc, first).await,
            ];
            match &responses {
                [Ok(one), Ok(two)] if lasting(one) == lasting(two) => {}
                // The second response shows how far the import has come meanwhile.
                [Ok(one), Ok(two)]
                    if rpc.ends_with("/StartRosterImport")
                        && one["roster_import"]["id"] == two["roster_import"]["id"] => {}
                _ => wrong.push(format!("{rpc} twice: {responses:?}")),
            }
            if rpc.ends_with("/RefreshSession") || rpc.ends_with("/RedeemOneTimeCode") {
                continue; // The id belongs to the session or the code, so another one may use it.
            }
            match client.call(&rpc, second).await {
                Err(status) if reason(&status) == "REQUEST_ID_REUSED" => {}
                other => wrong.push(format!("{rpc} with another body: {other:?}")),
            }
            called.insert(rpc);
        }
        suite.stop().await;
        assert!(wrong.is_empty(), "of {}:\n{}", called.len(), wrong.join("\n"));
        assert!(called.len() > 25, "{called:?}");
    });
}

#[test]
fn page_token_is_refused_by_every_other_list() {
    parta_testkit::run(async {
        let suite = Suite::one_process().await;
        let two_schools = TwoSchools::new(&suite).await;
        let page = two_schools
            .own
            .must("UnitService/ListUnits", json!({"page_size": 1}))
            .await;
        let foreign = two_schools
            .foreign
            .must("UnitService/ListUnits", json!({"page_size": 1}))
            .await;
        let tokens = [
            &page["next_page_token"],
            &foreign["next_page_token"],
            &json!("AAAA"),
            &json!("\u{0}"),
        ];
        let (mut wrong, mut called) = (Vec::new(), 0);
        for rpc in served() {
            if dynamic::method(&rpc)
                .input()
                .get_field_by_name("page_token")
                .is_none()
            {
                continue;
            }
            let Some(kind) = welcome(&rpc) else { continue };
            let (caller, body) = sample(&two_schools, &two_schools.own, kind, true, &rpc).await;
            let client = caller.unwrap_or_else(|| two_schools.client(kind, service(&rpc)));
            // A list accepts its own token.
            let own = rpc.ends_with("/ListUnits");
            for (field, value) in tokens
                .iter()
                .skip(usize::from(own))
                .map(|token| ("page_token", (*token).clone()))
                .chain([("page_size", json!(-1)), ("page_size", json!(i32::MIN))])
            {
                let mut bad = body.clone();
                bad[field] = value;
                called += 1;
                match client.call(&rpc, bad).await {
                    Err(status) if status.code() == Code::InvalidArgument && fields(&status) == [field] => {}
                    other => wrong.push(format!("{rpc} {field}: {other:?}")),
                }
            }
        }
        suite.stop().await;
        assert!(wrong.is_empty(), "of {called}:\n{}", wrong.join("\n"));
    });
}

#[test]
fn invalid_credentials_are_refused() {
    parta_testkit::run(async {
        let suite = Suite::one_process().await;
        let two_schools = TwoSchools::new(&suite).await;
        let administrator = &two_schools.own.school.administrator.client;
        let good = administrator
            .credential()
            .unwrap()
            .trim_start_matches("Bearer ")
            .to_owned();
        let parts: Vec<&str> = good.split('.').collect();
        let claims: Value =
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        let issuer = claims["iss"].as_str().unwrap();
        let (org, member) = (
            two_schools.own.school.org_id.parse().unwrap(),
            two_schools.own.school.administrator.member_id.parse().unwrap(),
        );
        let env = Env::system();
        let hour = TimeDelta::hours(1);
        let forge = |pair: KeyPair, issuer: &str, life| {
            let key = SigningKey::first(pair, env.now() - hour);
            let issuer = TokenIssuer::new(vec![key], issuer, life, env.clone());
            issuer.person(org, member, env.id()).unwrap().text
        };
        let mut signature = parts[2].to_owned();
        signature.replace_range(..1, if signature.starts_with('A') { "B" } else { "A" });
        let none = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
        let credentials = [
            ("truncated", good[..good.len() - 7].to_owned()),
            ("wrongly signed", format!("{}.{}.{signature}", parts[0], parts[1])),
            ("unsigned", format!("{none}.{}.", parts[1])),
            (
                "of another installation",
                forge(KeyPair::generate(&env).unwrap(), issuer, hour),
            ),
            ("expired", forge(pair_of(&suite), issuer, -hour)),
            (
                "of another issuer",
                forge(pair_of(&suite), "https://elsewhere.example", hour),
            ),
            ("a joiner's behind another's", "eyJ.eyJ.AAAA".to_owned()),
            (
                "an operator's made up",
                "opk_00000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA_000000".to_owned(),
            ),
        ];
        let mut wrong = Vec::new();
        for rpc in served() {
            // RPCs that are open to every caller do not check credentials.
            let open = permissions::rows().iter().all(|row| row.rpc != rpc || row.own);
            for (what, token) in credentials.iter().filter(|_| !open) {
                let (client, body) = (suite.anonymous().with(token), json!({}));
                match call_rpc(&client, &rpc, body).await {
                    Err(status) if status.code() == Code::Unauthenticated && !reason(&status).is_empty() => {}
                    other => wrong.push(format!("{rpc} {what}: {other:?}")),
                }
            }
        }
        suite.stop().await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

fn pair_of(suite: &Suite) -> KeyPair {
    let pem = std::fs::read_to_string(suite.keys().join("token-signing.pem")).unwrap();
    KeyPair::from_pem(&pem).unwrap()
}
