//! Values that the chart must refuse.
use std::path::Path;

use anyhow::{Context as _, bail, ensure};

use super::{
    Tools,
    facts::Facts,
    render::{CHART, PLACEHOLDER},
    rules::is_secret,
};
use crate::parallel;

/// Values that the schema refuses, each a mistake that operators make.
const BAD_VALUES: &[&str] = &[
    "services.chat.replica=2",
    "services.chat.replicas=two",
    "services.chat.replicas=0",
    "services.gradebook.replicas=1",
    "services.chat.databaseSecret=Parta_Chat",
    "services.chat.filesSecret=parta/files",
    "services.chat.resources.limits.cpu=1",
    "services.chat.resources.limits.memory=many",
    "services.chat.resources.requests.cpu=100Mi",
    "services.chat.resources.requests.cpu=0m",
    "image.digest=latest",
    "image.tag=1.0",
    "image.repository=Parta",
    "config.max_calls=1",
    r"config.membership\.smtp_url=smtps://user:password@mail.example",
    r"config.membership\.smtp_url=smtps://user:pass/word@mail.example",
    r"config.bus\.url=nats://other:4222",
    r"config.server\.tls_key_file=/etc/key.pem",
    r"config.chat\.listen=0.0.0.0:80",
    r"config.chat\.address=http://other:7710",
    r"config.chat\.database_url=sqlite://chat",
    r"config.keys\.folder=/tmp",
    r"config.bus\.user=",
    "stop.graceSeconds=1",
    "stop.drainSeconds=-1",
    "nats.url=http://nats:4222",
    "nats.url=nats://user:password@nats:4222",
    "telemetry.otlpEndpoint=collector",
    "telemetry.otlpEndpoint=https://collector:4317",
    "telemetry.otlpEndpoint=http://collector",
    "networkPolicy.database.port=70000",
    "networkPolicy.clients=null",
    "networkPolicy.clients[0].podSelectr.matchLabels.app=gateway",
    "networkPolicy.clients[0].podSelector.matchLabels=null",
    "networkPolicy.nats.to[0].namespaceSelector.matchLabel.name=nats",
    "networkPolicy.delivery.to[0].ipBlock.cidr=everywhere",
    "networkPolicy.delivery.to[0].ipBlock.cidr=999.1.1.1/99",
    "networkPolicy.delivery.to[0].ipBlock.cidr=10.0.0.0",
    "networkPolicy.delivery.to[0].ipBlock.cidr=:::::/64",
    "route.enabled=maybe",
    "route.hostnames={not a host}",
    "route.trustedProxies={999.1.1.1/99}",
    "route.trustedProxies={10.0.0.0/33}",
    "route.trustedProxies={0.0.0.0/0}",
    "route.trustedProxies={fd00::/129}",
    "route.trustedProxies={:::::}",
    "route.trustedProxies={gateway}",
    "singleNode.enabled=yes",
    "singleNode.replicas=2",
    "singleNode.storage.size=10",
    "singleNode.storage.accessMode=ReadWriteMany",
    "singleNode.fsGroup=0",
    "singleNode.serviceType=NodePort",
    "singleNode.serviceType=LoadBalancer",
    "singleNode.enabled=true,natsServer.enabled=true",
    "singleNode.enabled=true,cnpg.enabled=true",
    "singleNode.enabled=true,autoscaling.enabled=true",
    "natsServer.replicas=2",
    "natsServer.image.digest=latest",
    "natsServer.image.tag=2",
    "cnpg.instances=0",
    "cnpg.maxConnections=10",
    "cnpg.backup.objectStore=s3://backups",
    "cnpg.backup.schedule=30 2 * * *",
    "autoscaling.services.invitation.min=2",
    "autoscaling.services.chat.min=1",
    "autoscaling.services.chat.averageCpu=80%",
    "autoscaling.services.chat.averageCpu=700Mi",
    "autoscaling.services.chat.averageCpu=0m",
    "otelCollector.forward.endpoint=http://collector:4317",
    "monitoring.enabled=true",
    "monitoring.interval=often",
    "monitoring.labels.release=a label",
    "externalSecrets.store.kind=Vault",
    "externalSecrets.refreshInterval=often",
    "certManager.issuer.kind=Authority",
    "certManager.enabled=true,certManager.authorityConfigMap=",
    "certManager.authorityConfigMap=parta/authority",
    "networkPolicy.dns.ports={}",
];

/// Values in JSON that the schema refuses.
const BAD_JSON: &[&str] = &[
    r#"config={"server.grace_seconds": "60"}"#,
    r#"networkPolicy.clients=[{"podSelectr": {}}]"#,
    r#"networkPolicy.clients=[{"podSelector": {}}]"#,
    r#"networkPolicy.clients=[{"namespaceSelector": {"matchLabels": {}}}]"#,
    r#"networkPolicy.delivery.to=[{"ipBlock": {"cidr": "0.0.0.0/0"}, "podSelector": {"matchLabels": {"a": "b"}}}]"#,
];

/// Values that the schema cannot compare, and a word of the chart's own refusal.
const BAD_COMBINATIONS: &[(&str, &str)] = &[
    ("image.allowPlaceholder=false", "image.digest is a placeholder"),
    (
        "natsServer.enabled=true,natsServer.image.digest=sha256:\
         0000000000000000000000000000000000000000000000000000000000000000",
        "natsServer.image.digest is a placeholder",
    ),
    (
        "stop.graceSeconds=5,stop.drainSeconds=60",
        "stop.drainSeconds is a part of stop.graceSeconds",
    ),
    ("route.enabled=true", "route.hostnames: name the server"),
    (
        "route.enabled=true,route.hostnames={parta.school.example}",
        "route.trustedProxies: name the networks",
    ),
    (
        "singleNode.enabled=true,singleNode.serviceType=LoadBalancer",
        "networkPolicy.clients needs an ipBlock",
    ),
    (
        "natsServer.enabled=true,nats.url=nats://nats.messaging:4222",
        "nats.url: the NATS of natsServer",
    ),
    (
        "nats.url=nats://nats.messaging:4333",
        "networkPolicy.nats.port is 4222, and nats.url has the port 4333",
    ),
    (
        "networkPolicy.nats.port=4333",
        "networkPolicy.nats.port is 4333, and nats.url has the port 4222",
    ),
    (
        "telemetry.otlpEndpoint=http://collector:4318",
        "networkPolicy.telemetry.port is 4317, and telemetry.otlpEndpoint has the port 4318",
    ),
    (
        "cnpg.enabled=true,networkPolicy.database.port=6432",
        "the PostgreSQL of cnpg has the port 5432",
    ),
    (
        "services.chat.databaseSecret=parta-database-invitation",
        "services.invitation.databaseSecret: services.chat has the same Secret",
    ),
    (
        "services.chat.keysSecret=parta-keys-membership",
        "services.membership.keysSecret: services.chat has the same Secret",
    ),
    (
        "services.chat.resources.limits.memory=100Mi",
        "limits.memory 100Mi is less than requests.memory 128Mi",
    ),
    (
        "autoscaling.enabled=true,autoscaling.services.chat.min=9",
        "min is 9, max is 6",
    ),
    (
        "singleNode.enabled=true,certManager.enabled=true",
        "a single node needs certManager.dnsNames",
    ),
];

/// Settings with a secret, and a word of the chart's own refusal, which must not contain the secret.
const BAD_SETTINGS: &[(&str, &str)] = &[
    (
        r#"{"membership.sms_headers": "[\"Authorization: Bearer hunter2\"]"}"#,
        "config.membership.sms_headers: the header Authorization has a value of its own",
    ),
    (
        r#"{"membership.sms_headers": "[\"X-Id: {id}\", \"X-Api-Key: hunter2{secret}\"]"}"#,
        "the header X-Api-Key has a value of its own",
    ),
    (
        r#"{"membership.sms_headers": "[Authorization: hunter2]"}"#,
        "config.membership.sms_headers: write a list of headers",
    ),
    (
        r#"{"membership.sms_headers": "Authorization: hunter2"}"#,
        "config.membership.sms_headers: write a list of headers",
    ),
    (
        r#"{"membership.sms_url": "https://sms.example/hunter2/send"}"#,
        "set PARTA__MEMBERSHIP__SMS_URL in the Secret",
    ),
    (
        r#"{"membership.sms_body": "key=hunter2"}"#,
        "set PARTA__MEMBERSHIP__SMS_BODY in the Secret",
    ),
];

/// Settings that look like secrets and are none.
const GOOD_SETTINGS: &str = r#"{
    "keys.issuer": "school",
    "membership.sms_headers":
        "[\"Authorization: Bearer {secret}\", \"X-Id:{id}\", \"Content-Type: text/plain\"]",
    "membership.sms_secret_file": "/etc/parta/files/sms",
    "membership.smtp_url": "smtp://mail.example",
    "invitation.link_base_url": "https://school.example/@join"
}"#;

/// Fails if the schema or the chart lets a mistake through, or refuses settings that are no secrets.
pub(super) fn check(tools: &Tools, facts: &Facts) -> anyhow::Result<()> {
    let owned = |option, values: &str, why| (option, values.to_owned(), why);
    let single = BAD_VALUES.iter().map(|value| owned("--set", value, "schema"));
    let json = BAD_JSON.iter().map(|value| owned("--set-json", value, "schema"));
    let combined = BAD_COMBINATIONS
        .iter()
        .map(|(values, why)| owned("--set", values, *why));
    let settings = BAD_SETTINGS
        .iter()
        .map(|(settings, why)| owned("--set-json", &format!("config={settings}"), *why));
    let secrets = facts.config_keys.iter().filter(|key| is_secret(key));
    let secrets = secrets.map(|key| {
        owned(
            "--set-json",
            &format!(r#"config={{"{key}": "hunter2"}}"#),
            "schema",
        )
    });
    let mistakes: Vec<_> = single
        .chain(json)
        .chain(combined)
        .chain(settings)
        .chain(secrets)
        .collect();
    let render = |option: &str, values: &str| {
        tools.template(Path::new(CHART), &[PLACEHOLDER, &[option, values]].concat())
    };
    parallel::map(&mistakes, |(option, values, why)| match render(option, values) {
        Ok(_) => bail!("the chart renders with {values}"),
        Err(error) => {
            let error = error.to_string();
            ensure!(error.contains(why), "{values}: {error}");
            ensure!(
                !error.contains("hunter2"),
                "the refusal prints the secret: {error}"
            );
            Ok(())
        }
    })?;
    render(
        "--set-json",
        &format!("config={}", GOOD_SETTINGS.replace('\n', "")),
    )
    .context("settings that are no secrets")?;
    Ok(())
}
