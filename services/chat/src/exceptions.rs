//! RPCs that do not pass the edge (`libs/edge`), each with its reason. Feeds, which `libs/feed` serves for
//! every service, are not listed.

/// The full name of an RPC and the reason why it does not pass the edge.
pub const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "parta.chat.v1.MessageService/SendMessage",
        "the writer commits many messages in one transaction; the entry holds the request_id, and the right to write is \
         checked with the row of the chat locked",
    ),
    (
        "parta.chat.internal.v1.AnnouncementService/PostAnnouncement",
        "writes through the message writer, as SendMessage does",
    ),
    (
        "parta.chat.v1.MessageService/ListEntries",
        "a page takes two statements; a transaction around them costs two more round trips on PostgreSQL",
    ),
    (
        "parta.chat.v1.MessageService/MarkRead",
        "the mark only moves forward, so a repetition needs no record; one statement writes the row, and a transaction \
         around it costs two more round trips on PostgreSQL",
    ),
    (
        "parta.chat.v1.LiveService/SubscribeChats",
        "a stream: authorized when it opens, ended by the server's layers, by the departure of its member and with the \
         credential",
    ),
];
