//! The generated API of chat: messages, clients, servers and descriptors.

include!(concat!(env!("OUT_DIR"), "/package.rs"));

parta_proto::feed_kind!(
    /// The feed of chat.
    ChatFeed, "chat", "parta.chat.v1.ChatFeedService", ChatEvent, chat_event,
    chat_feed_service_server::ChatFeedService, chat_feed_service_client::ChatFeedServiceClient
);

parta_proto::job_api!(
    /// The jobs of chat.
    ChatJobs, "chat", "parta.chat.v1.ChatJobService",
    chat_job_service_server::ChatJobService, chat_job_service_client::ChatJobServiceClient
);

parta_proto::quarantine_api!(
    /// The consumers and quarantines of chat.
    ChatQuarantines, "chat", "parta.chat.v1.ChatQuarantineService",
    chat_quarantine_service_server::ChatQuarantineService,
    chat_quarantine_service_client::ChatQuarantineServiceClient
);
