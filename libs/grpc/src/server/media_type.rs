//! The media types of requests. A request that is not gRPC is refused before a layer sees it: a page in a
//! browser can send `text/plain` to any server without a preflight.
use http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE};
use tonic::body::Body;

use crate::rpc::{HttpRequest, HttpResponse};

/// Whether the request is gRPC with protobuf messages, the only format that the servers decode.
pub(super) fn is_grpc(request: &HttpRequest) -> bool {
    request.method() == Method::POST && has_grpc_type(request.headers())
}

fn has_grpc_type(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim();
    ["application/grpc", "application/grpc+proto"]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

/// Returns the response to a request that is not gRPC, as gRPC over HTTP/2 requires it.
pub(super) fn unsupported() -> HttpResponse {
    let mut response = HttpResponse::new(Body::empty());
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_grpc_with_protobuf_is_decoded() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC", true),
            ("application/grpc; charset=utf-8", true),
            ("application/grpc+json", false),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpcx", false),
            ("application/json", false),
            ("text/plain", false),
            ("", false),
        ] {
            let request = |method: Method| {
                http::Request::builder()
                    .method(method)
                    .header(CONTENT_TYPE, content_type)
                    .body(Body::empty())
                    .unwrap()
            };
            assert_eq!(is_grpc(&request(Method::POST)), expected, "{content_type}");
            assert!(!is_grpc(&request(Method::GET)), "{content_type}");
        }
        let absent = http::Request::post("/").body(Body::empty()).unwrap();
        assert!(!is_grpc(&absent));
    }
}
