//! Notices that a gateway sends.
use parta_proto_membership::v1::{self as pb, Role};
use parta_testkit::{SmsGateway, SmsReply, logs, on_both};

use crate::{
    config::{Config, DeliveryKind},
    tests::test_env::{MemberSession, Person, TestEnv, by, org},
};

const PHONE: &str = "+79163333333";
const OTHER: &str = "+79164444444";

fn config(gateway: &SmsGateway) -> Config {
    Config {
        delivery: DeliveryKind::SmsGateway,
        sms_url: Some(gateway.url("/sms/send")),
        sms_body: "to={phone_digits}&msg={text}&key={secret}&id={id}".to_owned(),
        sms_secret: Some("a key".into()),
        sms_timeout_seconds: 1,
        codes_per_hour_of_network: 3_600_000,
        ..Config::default()
    }
}

/// A person who signs in by the code of the gateway.
async fn newcomer(env: &TestEnv, gateway: &SmsGateway, phone: &str, name: &str) -> Person {
    let flow = env.request_code(phone).await.unwrap().flow_id;
    env.run_due_jobs().await;
    let code = gateway.next_code(phone).await;
    env.verify(&flow, &code).await.unwrap();
    env.start(&flow, "", name).await.unwrap()
}

async fn suspend(env: &TestEnv, caller: &MemberSession, member_id: &str) {
    let request = pb::SuspendMemberRequest {
        request_id: env.act(),
        org_id: org(1).to_string(),
        member_id: member_id.to_owned(),
        roles: Vec::new(),
        cause: "Проверка".to_owned(),
    };
    let mut api = env.suspensions();
    api.suspend_member(by(&caller.token, request)).await.unwrap();
}

// The SMS has the Russian text only. A temporary failure is repeated with the same id, a refusal is not, and
// neither the log nor a job names the person.
// Covers: F5 allowed
on_both!(notice_is_sent_by_the_gateway, |database| async move {
    logs().allow("notice refused, not sent again");
    let gateway = SmsGateway::start().await;
    let env = TestEnv::open_with(database, config(&gateway)).await;
    let person = newcomer(&env, &gateway, "+79160000001", "Анна Петрова").await;
    env.claim(&person, org(1)).await.unwrap();
    let administrator = env.member_session(org(1), person).await.unwrap();
    let person = newcomer(&env, &gateway, PHONE, "Олег Волков").await;
    let teacher = env.admit(person, PHONE, Role::Teacher, |_| ()).await;
    let person = newcomer(&env, &gateway, OTHER, "Пётр Заяц").await;
    let other = env.admit(person, OTHER, Role::Teacher, |_| ()).await;
    suspend(&env, &administrator, &teacher.member_id).await;
    let before = gateway.requests().len();
    gateway.plan([SmsReply::Status(503)]);
    env.run_due_jobs().await;
    let jobs = env.jobs().await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!(jobs[0].1.as_deref(), Some("sms: http_503"));
    assert!(!jobs[0].0.contains("9163333333") && !jobs[0].0.contains("Волков"));
    env.minute();
    env.run_due_jobs().await;
    assert_eq!(env.jobs().await, []);
    let requests = gateway.requests();
    let [first, second] = &requests[before..] else {
        panic!("two requests: {requests:?}")
    };
    assert_eq!(first.body, second.body);
    assert_eq!(first.field("to").as_deref(), Some("79163333333"));
    assert_eq!(
        first.field("msg").unwrap(),
        "Школа № 5: ваш доступ в Parta приостановлен. По всем вопросам обращайтесь в администрацию."
    );
    gateway.plan([SmsReply::Status(401)]);
    suspend(&env, &administrator, &other.member_id).await;
    env.run_due_jobs().await;
    assert_eq!(env.jobs().await, []);
    let printed = format!("{:?}", logs().lines());
    assert!(
        !printed.contains("9163333333") && !printed.contains("приостановлен"),
        "{printed}"
    );
    env.close().await;
});
