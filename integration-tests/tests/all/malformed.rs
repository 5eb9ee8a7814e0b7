//! Malformed input cannot panic a service. Every RPC receives messages that a regular client never sends.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may fail loudly and says its seed"
)]
use bytes::{Buf as _, BufMut as _, Bytes};
use parta_access::PrincipalKind as Kind;
use parta_integration_tests::{Client, SEED, SeededRng, Suite, TwoSchools, number_from_env};
use parta_status::RpcError;
use parta_testkit::dynamic;
use prost::Message as _;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind as Type, MessageDescriptor, MethodDescriptor, Value,
};
use serde_json::json;
use tokio_stream::StreamExt as _;
use tonic::{
    Code, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Environment variable with the number of messages that each kind of caller sends to each RPC.
const COUNT: &str = "PARTA_TEST_MALFORMED";

/// Texts that are valid for some field, and texts that are valid for none.
fn texts(two_schools: &TwoSchools) -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "\u{0}",
        "a\u{0}b",
        "\u{1b}[2J",
        "\u{202e}gpj",
        "\u{feff}",
        "org_",
        "org_00000000000000000000000000",
        "org_zzzzzzzzzzzzzzzzzzzzzzzzzz",
        "unt_01h2xcejqtf2nbrexx3vqjhp41",
        "mbr_01h2xcejqtf2nbrexx3vqjhp41",
        "mbr_01H2XCEJQTF2NBREXX3VQJHP41",
        "_",
        "00000000-0000-0000-0000-000000000000",
        "018f3b8e-7b7a-7c3e-9d6e-2f2a3b4c5d6e",
        "not-a-uuid",
        "AAAA",
        "////",
        "%00%ff",
        "' OR 1=1 --",
        "2026-02-30T25:61:00",
        "2026-09-01T08:00:00",
        "9999-12-31T23:59:59",
        "+79160000000",
        "a@b.c",
        "Europe/Moscow",
        "ROLE_HEAD",
        "👩‍👩‍👧",
        "е\u{301}",
        "%PDF-",
    ]
    .map(str::to_owned)
    .to_vec();
    for sample_school in [&two_schools.own, &two_schools.foreign] {
        texts.extend([
            sample_school.school.org_id.clone(),
            sample_school.class.clone(),
            sample_school.pupil.member_id.clone(),
            sample_school.link.clone(),
        ]);
    }
    texts.push("я".repeat(5_000));
    texts.push("x".repeat(1024 * 1024));
    texts
}

struct Maker<'a> {
    seeded_rng: SeededRng,
    texts: &'a [String],
    own: &'a str,
}

impl Maker<'_> {
    fn message(&mut self, of: &MessageDescriptor, depth: u32) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        for field in of.fields() {
            if self.seeded_rng.below(4) == 0 || depth > 4 {
                continue;
            }
            if field.is_list() {
                let count = *self.seeded_rng.choose(&[0, 1, 2, 3, 300]);
                // Many large texts would exhaust the memory of the test, not of the service.
                let list = (0..count).map(|_| self.value(&field, depth, count > 3)).collect();
                message.set_field(&field, Value::List(list));
            } else if !field.is_map() {
                let value = self.value(&field, depth, false);
                message.set_field(&field, value);
            }
        }
        message
    }

    fn value(&mut self, field: &FieldDescriptor, depth: u32, small: bool) -> Value {
        let whole = *self.seeded_rng.choose(&[
            0,
            1,
            -1,
            2,
            7,
            50,
            10_000,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
            i64::MAX,
            i64::MIN,
            253_402_300_800,
        ]);
        match field.kind() {
            Type::Message(of) => Value::Message(self.message(&of, depth + 1)),
            Type::String => Value::String(self.text(field.name(), small)),
            Type::Bytes => {
                let count = self.seeded_rng.below(2_000);
                let bytes: Vec<u8> = (0..count).map(|_| self.seeded_rng.next() as u8).collect();
                Value::Bytes(bytes.into())
            }
            Type::Bool => Value::Bool(self.seeded_rng.below(2) == 0),
            Type::Enum(_) => {
                Value::EnumNumber(
                    *self
                        .seeded_rng
                        .choose(&[0, 1, 2, 3, 4, 5, 6, 99, -1, i32::MAX, i32::MIN]),
                )
            }
            Type::Int64 | Type::Sint64 | Type::Sfixed64 => Value::I64(whole),
            Type::Uint64 | Type::Fixed64 => Value::U64(whole as u64),
            Type::Uint32 | Type::Fixed32 => Value::U32(whole as u32),
            Type::Double => Value::F64(f64::NAN),
            Type::Float => Value::F32(f32::INFINITY),
            _ => Value::I32(whole as i32),
        }
    }

    /// Returns a valid text for many fields, so that messages often pass the first checks and reach the later
    /// ones.
    fn text(&mut self, field: &str, small: bool) -> String {
        if field == "request_id" && self.seeded_rng.below(4) > 0 {
            let (a, b) = (self.seeded_rng.next(), self.seeded_rng.next());
            return uuid::Uuid::from_u64_pair(a, b).to_string();
        }
        if field == "org_id" && self.seeded_rng.below(2) > 0 {
            return self.own.to_owned();
        }
        let known = if small {
            self.texts.len() - 2
        } else {
            self.texts.len()
        };
        self.seeded_rng.choose(&self.texts[..known]).clone()
    }
}

/// A codec that sends bytes unchanged and ignores responses.
#[derive(Clone)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;
    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        src.advance(src.remaining());
        Ok(Some(()))
    }
}

/// Sends messages to an RPC of any kind. Reads only the first responses of a stream that stays open.
async fn send(client: &Client, method: &MethodDescriptor, messages: Vec<Bytes>) -> Result<(), Status> {
    let package = method.parent_service().package_name().to_owned();
    let service = package.split('.').nth(1).unwrap().replace('_', "-");
    let mut grpc = Grpc::new(client.channel(&service));
    grpc.ready().await.unwrap();
    let path = format!("/{}", dynamic::name(method)).parse().unwrap();
    let request = client.request(tokio_stream::iter(messages));
    let mut responses = grpc.streaming(request, path, Raw).await?.into_inner();
    let mut left = 50;
    while left > 0 {
        let pause = std::time::Duration::from_millis(40);
        match tokio::time::timeout(pause, responses.next()).await {
            Ok(Some(response)) => response?,
            Ok(None) | Err(_) => break,
        }
        left -= 1;
    }
    Ok(())
}

fn fault(status: &Status) -> Option<String> {
    let refusal = RpcError::from_status(status);
    let reason = refusal.as_ref().map_or("", |refusal| refusal.reason());
    let wrong = match status.code() {
        Code::Internal | Code::Unknown | Code::DataLoss => true,
        Code::InvalidArgument => refusal.as_ref().is_none_or(|refusal| refusal.fields().is_empty()),
        Code::Unimplemented | Code::Cancelled | Code::DeadlineExceeded => true,
        _ => reason.is_empty(),
    };
    wrong.then(|| format!("{:?} {reason:?} {}", status.code(), status.message()))
}

fn served() -> Vec<MethodDescriptor> {
    let all = dynamic::all_methods().into_iter();
    let names: Vec<_> = parta::SERVICES.iter().flat_map(|s| s.grpc_services).collect();
    all.filter(|m| names.iter().any(|name| **name == m.parent_service().full_name()))
        .collect()
}

#[test]
fn malformed_messages_do_not_stop_a_service() {
    parta_testkit::run(async {
        let suite = Suite::one_process().await;
        let two_schools = TwoSchools::new(&suite).await;
        // The default seed is fixed, so that a failure can be repeated.
        let seed = number_from_env(SEED, 1);
        println!("{SEED}={seed}");
        let texts = texts(&two_schools);
        let mut maker = Maker {
            seeded_rng: SeededRng::new(seed),
            texts: &texts,
            own: &two_schools.own.school.org_id,
        };
        let (mut faults, mut sent) = (std::collections::BTreeMap::new(), 0_u32);
        for kind in [
            Kind::Anonymous,
            Kind::Pupil,
            Kind::Administrator,
            Kind::Operator,
            Kind::Service,
        ] {
            for method in served() {
                let service = match method.name() {
                    "AdmitMember" | "CancelAdmission" | "EndInvitations" => "invitation",
                    "AppointFoundingAdministrator" => "org-registry",
                    _ => "call-scheduling",
                };
                let client = two_schools.client(kind, service);
                for round in 0..number_from_env(COUNT, 12) {
                    let mut messages = Vec::new();
                    let count = if method.is_client_streaming() {
                        maker.seeded_rng.below(4)
                    } else {
                        1
                    };
                    for _ in 0..count {
                        messages.push(match round {
                            0 => Bytes::new(),
                            1 => {
                                let random: Vec<u8> =
                                    (0..64).map(|_| maker.seeded_rng.next() as u8).collect();
                                random.into()
                            }
                            _ => maker.message(&method.input(), 0).encode_to_vec().into(),
                        });
                    }
                    sent += 1;
                    if let Err(status) = send(&client, &method, messages.clone()).await
                        && let Some(fault) = fault(&status)
                    {
                        let shown: Vec<_> = messages
                            .iter()
                            .map(|m| DynamicMessage::decode(method.input(), m.clone()).map(|m| m.to_string()))
                            .map(|text| text.unwrap_or_default().chars().take(600).collect::<String>())
                            .collect();
                        faults
                            .entry(format!("{} {fault}", dynamic::name(&method)))
                            .or_insert_with(|| format!("{kind:?}: {shown:?}"));
                    }
                }
            }
        }
        println!("{sent} requests");
        let messages: Vec<_> = faults
            .iter()
            .map(|(what, how)| format!("{what}\n    {how}"))
            .collect();
        assert!(
            messages.is_empty(),
            "{} faults, {SEED}={seed}:\n{}",
            messages.len(),
            messages.join("\n")
        );
        // The suite still serves.
        two_schools.own.must("UnitService/ListUnits", json!({})).await;
        suite.stop().await;
    });
}
