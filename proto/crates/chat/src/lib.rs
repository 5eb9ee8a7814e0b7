//! The generated API of chat: messages, clients, servers and descriptors.

include!(concat!(env!("OUT_DIR"), "/package.rs"));

parta_proto::feed_kind!(
    /// The feed of chat.
    ChatFeed, "chat", "parta.chat.v1.ChatFeedService", ChatEvent, chat_event,
    chat_feed_service_server::ChatFeedService, chat_feed_service_client::ChatFeedServiceClient
);

parta_proto::operator_services!(
    "parta.chat.v1.Chat",
    chat_job_service_server::ChatJobService,
    chat_quarantine_service_server::ChatQuarantineService
);
