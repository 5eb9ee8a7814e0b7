//! Codes that are sent by SMS through a gateway (R19).
use std::path::PathBuf;

use parta_ids::{FlowId, TypedId as _};
use parta_proto_membership::v1 as pb;
use parta_runtime::ServiceConfig as _;
use parta_testkit::{Authority, Logs, SmsGateway, SmsReply, SmsRequest, logs, on_both, run};

use crate::{
    config::{BodyFormat, Config, DeliveryKind, SmsMethod},
    tests::test_env::{TestEnv, reason},
};

const PHONE: &str = "+79161234567";
const SECRET: &str = "a secret/of the account";

/// The request that SMS.RU documents.
fn config(gateway: &SmsGateway) -> Config {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Config {
        delivery: DeliveryKind::SmsGateway,
        sms_url: Some(gateway.url("/sms/send?json=1")),
        sms_body: "api_id={secret}&to={phone_digits}&msg={text}".to_owned(),
        sms_headers: texts(&["X-Request-Id: {id}"]),
        sms_secret: Some(SECRET.into()),
        sms_timeout_seconds: 1,
        sms_result_fields: texts(&["/sms/{phone_digits}/status_code", "/status_code"]),
        sms_accepted_results: texts(&["100"]),
        sms_temporary_results: texts(&["220"]),
        ..Config::default()
    }
}

fn code(request: &SmsRequest) -> String {
    let text = request.field("msg").unwrap();
    let mut words = text.split(|c: char| !c.is_ascii_digit());
    words.find(|word| word.len() == 6).unwrap().to_owned()
}

/// Fails if the log or a waiting job names the person, the code or the secret.
async fn assert_nothing_personal(test_env: &TestEnv, logs: &Logs, gateway: &SmsGateway) {
    let codes = gateway.requests().iter().map(code).collect::<Vec<_>>();
    let printed = format!("{:?} {:?}", logs.lines(), test_env.jobs().await);
    for personal in ["9161234567", SECRET, "входа"]
        .into_iter()
        .chain(codes.iter().map(String::as_str))
    {
        assert!(!printed.contains(personal), "{personal} in {printed}");
    }
}

// Covers: R19 allowed
on_both!(
    code_is_sent_by_the_gateway_and_proves_the_phone,
    |database| async move {
        let gateway = SmsGateway::start().await;
        let test_env = TestEnv::open_with(database, config(&gateway)).await;
        let flow = test_env.request_code(PHONE).await.unwrap().flow_id;
        assert_eq!(test_env.jobs().await, [(flow.clone(), None)]);
        test_env.run_due_jobs().await;
        let [request] = &gateway.requests()[..] else {
            panic!("one request")
        };
        assert_eq!(
            (request.method.as_str(), request.target.as_str()),
            ("POST", "/sms/send?json=1")
        );
        assert_eq!(
            request.header("content-type"),
            Some("application/x-www-form-urlencoded")
        );
        assert_eq!(request.field("api_id").as_deref(), Some(SECRET));
        assert_eq!(request.field("to").as_deref(), Some("79161234567"));
        assert!(
            !request.body.contains(&flow),
            "the gateway must not know the flow"
        );
        assert_eq!(test_env.jobs().await, []);
        let verified = test_env.verify(&flow, &code(request)).await.unwrap();
        assert!(verified.profiles.is_empty());
        assert_nothing_personal(&test_env, &logs(), &gateway).await;
        test_env.close().await;
    }
);

// A later attempt sends the same code with the same id, so that a provider can drop the repetition.
// Covers: R19 allowed
on_both!(temporary_failure_is_repeated, |database| async move {
    let gateway = SmsGateway::start().await;
    let test_env = TestEnv::open_with(database, config(&gateway)).await;
    let failures = [
        (SmsReply::Status(429), "sms: http_429"),
        (SmsReply::Status(503), "sms: http_503"),
        (SmsReply::Number(220), "sms: 220"),
        (SmsReply::Status(200), "sms: not_json"),
        (SmsReply::Hang, "sms: timeout"),
        (SmsReply::Close, "sms: connection_lost"),
    ];
    let flow = test_env.request_code(PHONE).await.unwrap().flow_id;
    gateway.plan(failures.iter().map(|(reply, _)| reply.clone()));
    let mut wait = 1;
    for (reply, failure) in failures {
        test_env.run_due_jobs().await;
        assert_eq!(
            test_env.jobs().await,
            [(flow.clone(), Some(failure.to_owned()))],
            "{reply:?}"
        );
        assert_nothing_personal(&test_env, &logs(), &gateway).await;
        wait *= 2;
        test_env.time.advance(chrono::TimeDelta::seconds(wait));
    }
    test_env.run_due_jobs().await;
    assert_eq!(test_env.jobs().await, []);
    let requests = gateway.requests();
    assert_eq!(requests.len(), 7);
    let same = |request: &SmsRequest| {
        (request.header("x-request-id"), &request.body)
            == (requests[0].header("x-request-id"), &requests[0].body)
    };
    assert!(requests.iter().all(same));
    test_env.close().await;
});

// Covers: R19 refused
on_both!(
    permanent_refusal_is_not_repeated_and_names_only_its_code,
    |database| async move {
        logs().allow("one-time code refused, not sent again");
        let gateway = SmsGateway::start().await;
        let test_env = TestEnv::open_with(database, config(&gateway)).await;
        for (reply, failure) in [
            (SmsReply::Number(207), "\"207\""),
            (SmsReply::Request(200), "\"200\""),
            (SmsReply::Request(201), "\"201\""),
            (SmsReply::Status(401), "\"http_401\""),
            (SmsReply::Status(302), "\"http_302\""),
        ] {
            gateway.plan([reply]);
            test_env.request_code(PHONE).await.unwrap();
            test_env.run_due_jobs().await;
            assert_eq!(test_env.jobs().await, []);
            let lines = logs().lines();
            let line = lines.last().unwrap();
            assert!(line.text.contains(&format!("failure={failure}")), "{line}");
            assert!(line.text.contains("channel=\"sms\""), "{line}");
            test_env.minute();
        }
        assert_eq!(gateway.requests().len(), 5);
        assert_eq!(logs().lines().len(), 5);
        assert_nothing_personal(&test_env, &logs(), &gateway).await;
        test_env.close().await;
    }
);

// The operator learns that a person waited in vain, and nobody gets a code that is no longer valid.
// Covers: R19 refused
on_both!(expired_code_is_not_sent, |database| async move {
    logs().allow("one-time code expired before it was sent");
    let gateway = SmsGateway::start().await;
    let test_env = TestEnv::open_with(database, config(&gateway)).await;
    gateway.plan([SmsReply::Status(500)]);
    test_env.request_code(PHONE).await.unwrap();
    test_env.run_due_jobs().await;
    test_env.time.advance(chrono::TimeDelta::minutes(5));
    test_env.run_due_jobs().await;
    assert_eq!(test_env.jobs().await, []);
    assert_eq!(gateway.requests().len(), 1);
    assert_eq!(logs().lines().len(), 1);
    assert_nothing_personal(&test_env, &logs(), &gateway).await;
    test_env.close().await;
});

// The secret and the code do not go to a server whose certificate no trusted authority issued.
// Covers: R19 refused
on_both!(certificate_of_the_gateway_is_checked, |database| async move {
    let folder = tempfile::tempdir().unwrap();
    let (trusted, other) = (Authority::new(), Authority::new());
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, trusted.certificate()).unwrap();
    let with = |gateway: &SmsGateway, authority: Option<PathBuf>| Config {
        sms_ca_file: authority,
        ..config(gateway)
    };
    for (server, authority) in [
        (other.issue("localhost"), Some(file.clone())),
        (trusted.issue("other.example"), Some(file.clone())),
        (trusted.issue("localhost"), None),
    ] {
        let gateway = SmsGateway::start_tls(&server).await;
        let test_env = TestEnv::open_with(database.another().await, with(&gateway, authority)).await;
        let flow = test_env.request_code(PHONE).await.unwrap().flow_id;
        test_env.run_due_jobs().await;
        assert_eq!(test_env.jobs().await, [(flow, Some("sms: tls".to_owned()))]);
        assert!(gateway.requests().is_empty());
        test_env.close().await;
    }
    let gateway = SmsGateway::start_tls(&trusted.issue("localhost")).await;
    let test_env = TestEnv::open_with(database, with(&gateway, Some(file))).await;
    test_env.request_code(PHONE).await.unwrap();
    test_env.run_due_jobs().await;
    assert_eq!(gateway.requests().len(), 1);
    test_env.close().await;
});

// A provider that takes JSON and a bearer token; the secret is a mounted file.
// Covers: R19 allowed
on_both!(
    request_can_be_json_with_the_secret_in_a_header,
    |database| async move {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "t0ken\n").unwrap();
        let gateway = SmsGateway::start().await;
        let json = Config {
            delivery: DeliveryKind::SmsGateway,
            sms_url: Some(gateway.url("/messaging/v1/SendSMS")),
            sms_headers: vec!["Authorization: Bearer {secret}".to_owned()],
            sms_body: r#"{"destination": "{phone_digits}", "text": "{text}", "id": "{id}"}"#.to_owned(),
            sms_body_format: BodyFormat::Json,
            sms_secret_file: Some(file),
            ..Config::default()
        };
        let test_env = TestEnv::open_with(database, json).await;
        let flow = test_env.request_code(PHONE).await.unwrap().flow_id;
        test_env.run_due_jobs().await;
        let request = gateway.requests().pop().unwrap();
        assert_eq!(request.header("authorization"), Some("Bearer t0ken"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(body["destination"], "79161234567");
        let text = body["text"].as_str().unwrap();
        let sent = text
            .split(|c: char| !c.is_ascii_digit())
            .find(|word| word.len() == 6);
        test_env.verify(&flow, sent.unwrap()).await.unwrap();
        test_env.close().await;
    }
);

// Covers: R19 refused
on_both!(address_without_a_channel_is_refused, |database| async move {
    let gateway = SmsGateway::start().await;
    let mail = |config: Config| Config {
        smtp_url: Some("smtps://user:password@127.0.0.1".into()),
        mail_from: "School <no-reply@school.example>".to_owned(),
        ..config
    };
    let both = mail(config(&gateway));
    let smtp = mail(Config {
        delivery: DeliveryKind::Smtp,
        ..Config::default()
    });
    for (config, phone, email) in [
        (config(&gateway), "OK", "FIELD_INVALID"),
        (both, "OK", "OK"),
        (smtp, "FIELD_INVALID", "OK"),
    ] {
        let test_env = TestEnv::open_with(database.another().await, config).await;
        assert_eq!(reason(&test_env.request_code(PHONE).await), phone);
        let request = pb::RequestCodeRequest {
            request_id: test_env.act(),
            email: "ivan@school.example".to_owned(),
            ..Default::default()
        };
        let requested = test_env.authentication().request_code(request).await;
        assert_eq!(reason(&requested), email);
        test_env.close().await;
    }
});

// The text of a code depends on its purpose. A purpose that this build does not know is not guessed: the job
// waits for a build that knows it.
// Covers: R19 refused
on_both!(code_of_an_unknown_purpose_is_not_sent, |database| async move {
    let gateway = SmsGateway::start().await;
    let test_env = TestEnv::open_with(database, config(&gateway)).await;
    let flow = test_env.request_code(PHONE).await.unwrap().flow_id;
    let id = flow.parse::<FlowId>().unwrap().uuid();
    let change = async |assignment| {
        test_env
            .change_row("sign_in_flow", assignment, "flow_id", id)
            .await;
    };
    change("purpose = purpose + 16384").await;
    test_env.run_due_jobs().await;
    assert_eq!(gateway.requests().len(), 0);
    let failure = "sign_in_flow.purpose holds 16385, which this build does not know";
    assert_eq!(test_env.jobs().await, [(flow.clone(), Some(failure.to_owned()))]);
    change("purpose = purpose - 16384").await;
    test_env.time.advance(chrono::TimeDelta::seconds(2));
    test_env.run_due_jobs().await;
    let code = code(&gateway.requests()[0]);
    test_env.verify(&flow, &code).await.unwrap();
    test_env.close().await;
});

/// A change of a valid configuration.
type Change = fn(&mut Config);

#[test]
fn wrong_configuration_is_refused_with_the_key() {
    run(async {
        let gateway = SmsGateway::start().await;
        let problems = |change: Change| {
            let (mut config, mut problems) = (config(&gateway), Vec::new());
            change(&mut config);
            config.validate(&mut problems);
            problems.join("; ")
        };
        assert_eq!(problems(|_| ()), "");
        let get: Change = |c| {
            c.sms_method = SmsMethod::Get;
            c.sms_url = Some("https://sms.example/send?to={phone}&msg={text}&key={secret}".to_owned());
            c.sms_body = String::new();
        };
        assert_eq!(problems(get), "");
        let wrong: &[(Change, &str)] = &[
            (|c| c.sms_url = None, "sms_url is required"),
            (
                |c| c.sms_url = Some("http://sms.example/".to_owned()),
                "sms_url must be https://",
            ),
            (
                |c| c.sms_url = Some("https://{phone}/".to_owned()),
                "host has no placeholder",
            ),
            (
                |c| c.sms_url = Some("https://u:p@sms.example/".to_owned()),
                "sms_url must be https://",
            ),
            (
                |c| c.sms_body = "to={fone}&msg={text}&k={secret}".to_owned(),
                "sms_body: there is no placeholder {fone}",
            ),
            (
                |c| c.sms_body = "msg={text}&k={secret}".to_owned(),
                "must contain {phone}",
            ),
            (
                |c| c.sms_body = "to={phone}&k={secret}".to_owned(),
                "must contain {text}",
            ),
            (
                |c| c.sms_secret = None,
                "sms_secret or sms_secret_file is required",
            ),
            (
                |c| c.sms_body = "to={phone}&msg={text}".to_owned(),
                "must contain {secret}",
            ),
            (|c| c.sms_secret_file = Some("/run/secret".into()), "not both"),
            (|c| c.sms_method = SmsMethod::Get, "sms_method POST only"),
            (|c| c.sms_body_format = BodyFormat::Json, "sms_body is not JSON"),
            (|c| c.sms_timeout_seconds = 0, "between 1 and 30"),
            (
                |c| c.sms_headers = vec!["nonsense".to_owned()],
                "sms_headers: write each header",
            ),
            (
                |c| c.sms_headers = vec!["A b: c".to_owned()],
                "A b is not the name of a header",
            ),
            (
                |c| c.sms_headers = vec!["X-To: {phone}".to_owned()],
                "{id} and {secret} only",
            ),
            (|c| c.sms_result_fields = vec!["code".to_owned()], "begins with /"),
            (|c| c.sms_result_fields = vec!["/{text}".to_owned()], "{id} only"),
            (
                |c| c.sms_accepted_results = Vec::new(),
                "set both sms_result_fields and",
            ),
            (
                |c| c.smtp_url = Some("smtp://localhost".into()),
                "mail_from must be a mail address",
            ),
        ];
        for (change, expected) in wrong {
            let found = problems(*change);
            assert!(found.contains(expected), "{expected}: {found}");
            assert!(!found.contains(SECRET), "{found}");
        }
    });
}
