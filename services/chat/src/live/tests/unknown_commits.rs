//! Connections to PostgreSQL that are cut in the middle of a commit. Open streams get what was committed long
//! before the regular comparison.
use parta_grpc::ServiceChannel;
use parta_ids::{ChatId, MemberId};
use parta_proto_chat::v1 as pb;
use parta_testkit::{CommitCut, CutAt, TestDatabase, on_postgres};
use tonic::{Code, Request, Status};

use super::streams::Subscriber;
use crate::{Config, tests::school::*};

/// The regular comparison comes later than a subscriber waits.
const COMPARING_NEVER: u64 = 60;

async fn open(database: &TestDatabase) -> (CommitCut, School) {
    let cut = CommitCut::to(database.url()).await;
    let config = Config {
        heartbeat_seconds: COMPARING_NEVER,
        ..Config::default()
    };
    let school = School::open_with(database.through(cut.url()), config).await;
    (cut, school)
}

async fn create(
    channel: &ServiceChannel,
    request: Request<pb::CreateDirectChatRequest>,
) -> Result<String, Status> {
    let mut client = pb::chat_service_client::ChatServiceClient::new(channel.clone());
    let response = client.create_direct_chat(request).await?.into_inner();
    Ok(response.chat.unwrap().id)
}

// Invariant 3. The server gets the COMMIT or does not, and can be reached again at once or later. The client
// repeats the call in any case.
// Covers: R34 allowed, R43 allowed
on_postgres!(
    stream_gets_a_chat_whose_commit_was_cut,
    "SQLite commits in the process",
    |database| async move {
        for text in [
            "the database is unavailable",
            "events not applied",
            "job lookup failed",
        ] {
            parta_testkit::logs().allow(text);
        }
        let (cut, school) = open(&database).await;
        let replica = school.fixture.replica(school.fixture.bus.clone()).await;
        let pairs: [(MemberId, MemberId); 4] = [
            (school.pupil, school.classmate),
            (school.pupil, school.class_teacher),
            (school.classmate, school.class_teacher),
            (school.class_teacher, school.subject_teacher),
        ];
        let ways = [
            (CutAt::Request, false),
            (CutAt::Reply, false),
            (CutAt::Request, true),
            (CutAt::Reply, true),
        ];
        for (n, ((caller, peer), (at, away))) in pairs.into_iter().zip(ways).enumerate() {
            let mut streams = [
                Subscriber::open_local(&school, peer, Default::default()).await,
                Subscriber::open(&school, replica.clone(), peer, Default::default()).await,
            ];
            let message = pb::CreateDirectChatRequest {
                request_id: new_uuid(&school.fixture).to_string(),
                org_id: school.org.to_string(),
                member_id: peer.to_string(),
            };
            let local = &school.fixture.channel;
            cut.plan("parta.chat.v1.ChatService/CreateDirectChat", at, away);
            let once = school.fixture.request_once(school.org, caller, message.clone());
            let made = create(local, once).await;
            cut.cuts(n + 1).await;
            if away {
                assert_eq!(made.unwrap_err().code(), Code::Unavailable, "{at:?}");
                cut.reconnect();
            } else {
                made.unwrap();
            }
            let again = school.fixture.request(school.org, caller, message);
            let made = create(local, again).await.unwrap();
            let chat: ChatId = made.parse().unwrap();
            for stream in &mut streams {
                // A chat begins with the entry of the reader's joining.
                assert_eq!(stream.next().await.chat_id, made, "{at:?}, away: {away}");
            }
            let text = format!("привет {n}");
            school.send(caller, chat, &text).await.unwrap();
            for stream in &mut streams {
                // The subscriber checks that it gets each entry once.
                stream.until(&text).await;
            }
        }
    }
);

// The consumer finds its cursor moved and has nothing to publish.
// Covers: R38 allowed, R43 allowed
on_postgres!(
    stream_gets_a_joining_whose_commit_was_cut,
    "SQLite commits in the process",
    |database| async move {
        let (cut, school) = open(&database).await;
        for (n, at) in [CutAt::Request, CutAt::Reply].into_iter().enumerate() {
            let mut stream = Subscriber::open_local(&school, school.class_teacher, Default::default()).await;
            let joined: MemberId = school.fixture.env.id();
            cut.plan("chat.roster_members", at, false);
            school
                .apply(vec![
                    admitted(joined, Role::Pupil, false),
                    enrolled(school.fixture.env.id(), joined, school.class),
                ])
                .await;
            cut.cuts(n + 1).await;
            // The class and the channel of the school, in any order.
            while mover(&stream.next().await) != Some((joined.to_string(), true)) {}
        }
    }
);
