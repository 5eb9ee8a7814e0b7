//! Configuration in layers.
use crate::{
    Section, Service, ServiceConfig, Sources,
    config::{ConfigArgs, check},
};
use serde::Deserialize;
use std::{ffi::OsString, path::Path};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    send_queue: u64,
    send_batch: u64,
    live_queue: u64,
    heartbeat_seconds: u64,
    archive_after_days: u32,
}

impl ServiceConfig for Config {
    fn validate(&self, problems: &mut Vec<String>) {
        if self.send_batch == 0 {
            problems.push("send_batch must be at least 1".into());
        }
    }
}

const CHAT: Service = Service {
    name: "chat",
    package: &parta_proto_chat::PACKAGE,
    calls: &[],
    grpc_services: &[],
    config: check::<Config>,
    build: |_| Box::pin(async { anyhow::bail!("is not built here") }),
    migrations: Vec::new,
};

fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(k, v)| (k.into(), v.into())).collect()
}

#[test]
fn built_in_defaults_are_complete_and_valid() {
    let (settings, _) = Sources::default().load(&[CHAT]).unwrap();
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:7710");
    assert!(
        settings.server.listen.ip().is_loopback(),
        "nothing is offered to the network unasked"
    );
    assert_eq!(settings.server.tls_key_file, None, "an empty text is not set");
    assert_eq!(settings.services.len(), 5);
    let chat: Config = settings.services["chat"].own.parse().unwrap();
    assert_eq!((chat.send_queue, chat.heartbeat_seconds), (8192, 15));
    assert_eq!(chat.archive_after_days, 400);
}

/// The code defaults must equal those in the file that documents them.
#[test]
fn documented_defaults_equal_the_code() {
    let (documented, _) = Sources::default().load(&[]).unwrap();
    let code = crate::config::ServerSettings::default();
    assert_eq!(format!("{:?}", documented.server), format!("{code:?}"));
    let code = crate::config::LogSettings::default();
    assert_eq!(format!("{:?}", documented.log), format!("{code:?}"));
    let code = crate::config::TelemetrySettings::default();
    assert_eq!(format!("{:?}", documented.telemetry), format!("{code:?}"));
    let code = crate::config::KeySettings::default();
    assert_eq!(format!("{:?}", documented.keys), format!("{code:?}"));
    let code = crate::config::DataSettings::default();
    assert_eq!(format!("{:?}", documented.data), format!("{code:?}"));
}

#[test]
fn each_layer_overrides_the_one_below() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("school.toml"),
        "[server]\nmax_calls = 10\nmax_streams = 10\ngrace_seconds = 10\n",
    )
    .unwrap();
    let sources = Sources {
        args: ConfigArgs {
            profile: Some("school".into()),
            config: Some(folder.path().to_owned()),
            set: vec!["server.max_streams=30".into()],
        },
        environment: environment(&[
            ("PARTA__SERVER__MAX_CALLS", "20"),
            ("PARTA__SERVER__MAX_STREAMS", "20"),
            ("PARTA_PORT_7710_TCP", "tcp://10.0.0.1:7710"),
            ("PATH", "/bin"),
        ]),
    };
    let (settings, _) = sources.load(&[CHAT]).unwrap();
    let server = settings.server;
    assert_eq!(
        (
            server.drain_seconds,
            server.grace_seconds,
            server.max_calls,
            server.max_streams
        ),
        (0, 10, 20, 30)
    );
}

/// A value that is empty in a Secret would be ignored as a key that is not set.
#[test]
fn each_empty_variable_is_named() {
    for variable in [
        "PARTA__CHAT__DATABASE_URL",
        "PARTA__CHAT__DATABASE_MIGRATE_URL",
        "PARTA__CHAT__SEND_BATCH",
        "PARTA__BUS__PASSWORD",
        "PARTA__SERVER__TLS_KEY_FILE",
    ] {
        for text in ["", "\n", " \r\n"] {
            let sources = Sources {
                environment: environment(&[(variable, text)]),
                ..Sources::default()
            };
            for refused in [sources.load(&[CHAT]), sources.load_for_migration(&[CHAT])] {
                let problems = refused.unwrap_err().0;
                let named = format!("{variable} is empty");
                assert!(
                    problems.len() == 1 && problems[0].contains(&named),
                    "{text:?}: {problems:?}"
                );
            }
        }
    }
    // The command line unsets a key that a file sets.
    let (settings, _) = Sources::set(["chat.database_url="]).load(&[CHAT]).unwrap();
    assert!(settings.services["chat"].database.url.is_none());
}

/// A Secret with a binary file, or a file in another encoding, would be ignored as a key that is not set.
#[cfg(unix)]
#[test]
fn each_variable_that_is_not_utf8_is_named() {
    let bytes = |bytes: &[u8]| <OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes.to_vec());
    let sources = Sources {
        environment: vec![
            ("PARTA__CHAT__DATABASE_MIGRATE_URL".into(), bytes(b"hunter2\xff")),
            (bytes(b"PARTA__BUS__PASS\xff"), "hunter2".into()),
            // These are no keys of the configuration.
            ("LESSCHARSET".into(), bytes(b"\xff")),
            (bytes(b"\xffPARTA__BUS__USER"), "user".into()),
        ],
        ..Sources::default()
    };
    for refused in [sources.load(&[CHAT]), sources.load_for_migration(&[CHAT])] {
        let error = refused.unwrap_err();
        let [value, name] = &error.0[..] else {
            panic!("{error}")
        };
        assert!(
            value.contains("PARTA__CHAT__DATABASE_MIGRATE_URL is not UTF-8"),
            "{error}"
        );
        assert!(
            name.contains("name of the variable PARTA__BUS__PASS\u{fffd} is not UTF-8"),
            "{error}"
        );
        let text = error.to_string();
        assert!(!text.contains("hunter2") && !text.contains("xff"), "{text}");
    }
}

/// `kubectl create secret --from-file` keeps the line break at the end of the file.
#[test]
fn line_break_at_the_end_of_a_variable_is_removed() {
    let sources = Sources {
        environment: environment(&[("PARTA__CHAT__DATABASE_URL", "postgres://chat@db/chat\r\n")]),
        ..Sources::default()
    };
    let (_, report) = sources.load(&[CHAT]).unwrap();
    assert_eq!(report.shown("chat.database_url"), Some("postgres://***@db/chat"));
}

#[test]
fn folder_from_which_nothing_is_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let load = |folder: &Path, profile: Option<&str>| {
        let args = ConfigArgs {
            profile: profile.map(Into::into),
            config: Some(folder.to_owned()),
            ..ConfigArgs::default()
        };
        let sources = Sources {
            args,
            ..Sources::default()
        };
        sources.load(&[CHAT]).map_err(|error| error.to_string())
    };
    for profile in [None, Some("kubernetes")] {
        for folder in [folder.path(), &folder.path().join("nowhere")] {
            let error = load(folder, profile).unwrap_err();
            assert!(error.contains(&folder.display().to_string()), "{error}");
        }
    }
    std::fs::write(
        folder.path().join("kubernetes.toml"),
        "[server]\nmax_calls = 10\n",
    )
    .unwrap();
    let (settings, _) = load(folder.path(), Some("kubernetes")).unwrap();
    assert_eq!(settings.server.max_calls, 10);
}

#[test]
fn owner_of_the_schema_is_for_postgresql() {
    let owner = "chat.database_migrate_url=postgres://owner:p@db/chat";
    let serving = "chat.database_url=postgres://chat:p@db/chat";
    Sources::set([owner, serving]).load(&[CHAT]).unwrap();
    for keys in [
        vec![owner],
        vec![owner, "chat.database_url=sqlite://chat.db"],
        vec!["chat.database_migrate_url=sqlite://chat.db", serving],
    ] {
        let error = Sources::set(keys).load(&[CHAT]).unwrap_err().to_string();
        assert!(
            error.contains("chat: database_migrate_url and database_url must both"),
            "{error}"
        );
        assert!(!error.contains("owner:p"), "{error}");
    }
}

/// The container that migrates has the settings of the server, but not its secrets.
#[test]
fn migration_needs_the_keys_of_its_database_alone() {
    for key in [
        "server.tls_certificate_file=/etc/tls/tls.crt",
        "chat.send_batch=0",
        "server.max_calls=0",
    ] {
        Sources::set([key]).load(&[CHAT]).unwrap_err();
        Sources::set([key]).load_for_migration(&[CHAT]).unwrap();
    }
    let owner = "chat.database_migrate_url=postgres://owner:p@db/chat";
    let error = Sources::set([owner]).load_for_migration(&[CHAT]).unwrap_err();
    assert!(error.to_string().contains("database_migrate_url"), "{error}");
}

/// A misspelled `database_migrate_url` would let the role that serves create the tables.
#[test]
fn migration_refuses_unknown_keys_of_its_database() {
    let variable = "PARTA__CHAT__DATABASE_MIGRAT_URL";
    let sources = Sources {
        environment: environment(&[(variable, "postgres://owner@db/chat")]),
        ..Sources::default()
    };
    let problems = sources.load_for_migration(&[CHAT]).unwrap_err().0;
    assert!(
        problems.len() == 1 && problems[0].contains("unknown field `database_migrat_url`"),
        "{problems:?}"
    );
    // The databases of other services are not opened.
    sources.load_for_migration(&[]).unwrap();
}

#[test]
fn unknown_keys_are_reported_in_every_layer() {
    for (key, named) in [
        ("server.lisen=127.0.0.1:1", "lisen"),
        ("sevrer.listen=127.0.0.1:1", "sevrer"),
        ("chat.databse_url=sqlite:x", "databse_url"),
    ] {
        let error = Sources::set([key]).load(&[CHAT]).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
    let sources = Sources {
        environment: environment(&[("PARTA__CHAT__SEND_QEUE", "1")]),
        ..Sources::default()
    };
    let error = sources.load(&[CHAT]).unwrap_err().to_string();
    assert!(error.contains("send_qeue"), "{error}");
}

#[test]
fn all_problems_are_reported_together() {
    let keys = [
        "server.listen=nowhere",
        "server2.a=b",
        "chat.send_batch=0",
        "telemetry.sample_ratio=2",
        "membership.address=membership:7710",
    ];
    let problems = Sources::set(keys).load(&[CHAT]).unwrap_err().0;
    assert_eq!(problems.len(), 5, "{problems:?}");
    for word in ["server", "server2", "send_batch", "sample_ratio", "membership"] {
        assert!(problems.iter().any(|p| p.contains(word)), "{word}: {problems:?}");
    }
}

#[test]
fn limits_that_would_refuse_every_call_are_problems() {
    for key in [
        "max_calls=0",
        "max_streams=0",
        "max_connections=63",
        "max_connections_per_client=0",
        "max_streams_per_connection=0",
        "receive_seconds=0",
        "max_request_bytes=100663295",
        "stall_seconds=0",
        "trusted_proxies=[\"proxy.example\"]",
    ] {
        let problems = Sources::set([format!("server.{key}")])
            .load(&[CHAT])
            .unwrap_err()
            .0;
        let name = key.split('=').next().unwrap();
        assert!(
            problems.len() == 1 && problems[0].contains(name),
            "{key}: {problems:?}"
        );
    }
}

/// Larger numbers would end the process at its stop, or each call, with a panic.
#[test]
fn numbers_out_of_range_are_problems() {
    for key in [
        "server.grace_seconds=3601",
        "server.drain_seconds=3601",
        "server.receive_seconds=3601",
        "server.stall_seconds=3601",
        "server.max_calls=1000001",
        "server.max_streams=1000001",
        "server.max_connections=1000001",
        "server.max_connections_per_client=1000001",
        "server.max_streams_per_connection=1000001",
        "server.max_request_bytes=1099511627777",
        "server.max_request_bytes=9223372036854775807",
        "chat.database_max_connections=3",
        "chat.database_max_connections=1001",
        "chat.database_max_connections=4294967295",
    ] {
        let problems = Sources::set([key]).load(&[CHAT]).unwrap_err().0;
        let name = key.split(['.', '=']).nth(1).unwrap();
        assert!(
            problems.len() == 1 && problems[0].contains(name) && problems[0].contains("must lie between"),
            "{key}: {problems:?}"
        );
    }
    let largest = [
        "server.grace_seconds=3600",
        "server.receive_seconds=3600",
        "server.max_calls=1000000",
        "chat.database_max_connections=1000",
    ];
    Sources::set(largest).load(&[CHAT]).unwrap();
}

/// The exporters have no TLS, so that an `https` address would end each start with an error of the library.
#[test]
fn collector_must_have_an_http_address() {
    for url in ["https://collector:4317", "collector:4317", "http://"] {
        let problems = Sources::set([format!("telemetry.otlp_endpoint={url}")])
            .load(&[CHAT])
            .unwrap_err()
            .0;
        assert!(
            problems.len() == 1 && problems[0].contains("otlp_endpoint must be http://"),
            "{url}: {problems:?}"
        );
    }
    let right = ["telemetry.otlp_endpoint=http://collector:4317"];
    Sources::set(right).load(&[CHAT]).unwrap();
}

/// Invariant 10: logs contain no secrets, wherever an operator has written them.
#[test]
fn secrets_outside_their_keys_are_never_logged() {
    let keys = [
        "chat.database_url=postgres://db/chat?user=app&password=hunter2",
        "membership.sms_url=https://sms.example/hunter2/send?api_id=hunter2&to={phone}",
        "membership.sms_headers=[\"Authorization: Bearer hunter2\", \"X-Key: hunter2\"]",
        "membership.sms_body=password=hunter2&to={phone}",
        "bus.url=nats://hunter2@nats:4222",
    ];
    let (settings, report) = Sources::set(keys).load(&[CHAT]).unwrap();
    assert!(!format!("{report:?}").contains("hunter2"), "{report:?}");
    let database = &settings.services["chat"].database;
    assert!(!format!("{database:?}").contains("hunter2"), "{database:?}");
    assert_eq!(
        report.shown("membership.sms_url"),
        Some("https://sms.example/***")
    );
    assert_eq!(report.shown("chat.database_url"), Some("postgres://db/chat?***"));
    let plain = ["chat.address=http://chat:7710", "membership.sms_body_format=json"];
    let (_, report) = Sources::set(plain).load(&[CHAT]).unwrap();
    assert_eq!(report.shown("chat.address"), Some("http://chat:7710"));
    assert_eq!(report.shown("membership.sms_body_format"), Some("json"));
}

/// Invariant 10: logs contain no secrets.
#[test]
fn secrets_are_never_logged() {
    let keys = [
        "chat.database_url=postgres://app:hunter2@db/chat",
        "bus.password=hunter2",
        "bus.url=nats://bus:4222",
    ];
    let (settings, report) = Sources::set(keys).load(&[CHAT]).unwrap();
    assert_eq!(report.shown("chat.database_url"), Some("postgres://***@db/chat"));
    assert_eq!(report.shown("bus.password"), Some("***"));
    assert_eq!(report.shown("bus.url"), Some("nats://bus:4222"));
    assert!(!format!("{settings:?} {report:?}").contains("hunter2"));
}

#[test]
fn kubernetes_profile_is_built_in_and_valid() {
    let args = ConfigArgs {
        profile: Some("kubernetes".into()),
        ..ConfigArgs::default()
    };
    let (settings, _) = Sources {
        args,
        ..Sources::default()
    }
    .load(&[CHAT])
    .unwrap();
    assert_eq!(
        settings.services["call_scheduling"].address.as_deref(),
        Some("http://call-scheduling:7710")
    );
    let args = ConfigArgs {
        profile: Some("nowhere".into()),
        ..ConfigArgs::default()
    };
    let error = Sources {
        args,
        ..Sources::default()
    }
    .load(&[CHAT])
    .unwrap_err()
    .to_string();
    assert!(error.contains("nowhere.toml"), "{error}");
}

#[test]
fn section_parses_text_from_the_environment() {
    let section = Section::from_toml("chat", "send_batch = \"7\"").unwrap();
    assert_eq!(section.parse::<Config>().unwrap().send_batch, 7);
}
