use super::*;

const FILES: [(&str, &str); 3] = [
    (
        "options.proto",
        r#"syntax = "proto3";
        package parta.options.v1;
        import "google/protobuf/descriptor.proto";
        message ReasonRule { string code = 1; repeated string metadata = 2; bool common = 3; }
        extend google.protobuf.EnumValueOptions { ReasonRule reason = 50702; }"#,
    ),
    (
        "status.proto",
        r#"syntax = "proto3";
        package parta.status.v1;
        import "options.proto";
        enum ErrorReason {
          ERROR_REASON_UNSPECIFIED = 0;
          ERROR_REASON_CONFLICT = 1 [(parta.options.v1.reason) = {code: "ABORTED" common: true}];
          ERROR_REASON_NOT_FOUND = 2 [(parta.options.v1.reason) = {code: "NOT_FOUND"}];
        }"#,
    ),
    (
        "chat.proto",
        r#"syntax = "proto3";
        package parta.chat.v1;
        import "status.proto";
        enum ErrorReason { ERROR_REASON_UNSPECIFIED = 0; ERROR_REASON_CHAT_ARCHIVED = 1; }
        message GetChatRequest {}
        message GetChatResponse {}
        service ChatService {
          // COMMENT
          rpc GetChat(GetChatRequest) returns (GetChatResponse);
        }"#,
    ),
];

/// Resolves the files above, in which `comment` is that of GetChat.
struct Files<'a> {
    comment: &'a str,
}

impl protox::file::FileResolver for Files<'_> {
    fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
        match FILES.iter().find(|(file, _)| *file == name) {
            Some((_, source)) => {
                protox::file::File::from_source(name, &source.replace("COMMENT", self.comment))
            }
            None => protox::file::GoogleFileResolver::new().open_file(name),
        }
    }
}

fn read(comment: &'static str) -> Result<DocumentedReasons, UnreadableReasons> {
    let mut compiler = protox::Compiler::with_file_resolver(Files { comment });
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(["chat.proto"]).unwrap();
    let pool = DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap();
    DocumentedReasons::read(&pool)
}

const GET_CHAT: &str = "parta.chat.v1.ChatService/GetChat";

#[test]
fn listed_reasons_are_read_without_their_notes() {
    let reasons =
        read("Returns a chat. Reasons: NOT_FOUND (no such chat, or not in it), CHAT_ARCHIVED.").unwrap();
    let listed: Vec<_> = reasons.listed().collect();
    assert_eq!(listed, [(GET_CHAT, "CHAT_ARCHIVED"), (GET_CHAT, "NOT_FOUND")]);
    assert_eq!(reasons.common().collect::<Vec<_>>(), ["CONFLICT"]);
}

#[test]
fn listed_and_common_reasons_of_the_service_are_allowed() {
    let reasons = read("Returns a chat. Reasons: CHAT_ARCHIVED.").unwrap();
    for (rpc, domain, reason, allowed) in [
        (GET_CHAT, "chat.parta", "CHAT_ARCHIVED", true),
        (GET_CHAT, "parta", "CONFLICT", true),
        (GET_CHAT, "parta", "NOT_FOUND", false),
        (GET_CHAT, "membership.parta", "CHAT_ARCHIVED", false),
        (
            "parta.chat.v1.ChatService/Other",
            "chat.parta",
            "CHAT_ARCHIVED",
            false,
        ),
    ] {
        assert_eq!(
            reasons.allows(rpc, domain, reason),
            allowed,
            "{rpc} {domain} {reason}"
        );
    }
}

#[test]
fn an_rpc_may_have_no_reasons_of_its_own() {
    let reasons = read("Returns a chat. Reasons: none of its own.").unwrap();
    assert_eq!(reasons.listed().count(), 0);
}

#[test]
fn lists_that_cannot_be_read_are_refused() {
    for (comment, error) in [
        ("Returns a chat.", "the comment has no `Reasons:`"),
        (
            "Reasons: NOT_FOUND",
            "the list is not the last sentence of the comment",
        ),
        (
            "Reasons: NOT_FOUND; CHAT_ARCHIVED.",
            "`NOT_FOUND; CHAT_ARCHIVED` is not the name of a reason",
        ),
        ("Reasons: NOT_FOUND, NOT_FOUND.", "NOT_FOUND is listed twice"),
        (
            "Reasons: CONFLICT.",
            "CONFLICT is common to all RPCs and is not listed",
        ),
        ("Reasons: CHAT_LOST.", "CHAT_LOST is not declared"),
    ] {
        assert_eq!(
            read(comment),
            Err(UnreadableReasons(vec![format!("{GET_CHAT}: {error}")]))
        );
    }
}
