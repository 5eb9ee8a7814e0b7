//! The generated API of chat: messages, clients, servers and descriptors.

include!(concat!(env!("OUT_DIR"), "/package.rs"));

parta_proto::feed_kind!(
    /// The feed of chat.
    ChatFeed, "chat", ChatEvent, chat_event,
    chat_feed_service_server::ChatFeedService, chat_feed_service_client::ChatFeedServiceClient
);
