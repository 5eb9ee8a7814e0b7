//! The quarantine services of all packages have the same shape. These traits let one server and one client
//! serve all of them.
use prost::Message;
use tonic::{Request, Status};

use crate::{
    FeedChannel as Channel, MutationRequest,
    feed::v1::{ConsumerStatus, Quarantine},
};

/// A generated request that names the projection of one organization.
pub trait NamesProjection: Message + Default {
    /// Returns the id of the organization, as it was sent.
    fn org_id(&self) -> &str;
    /// Returns the name of the consumer, as it was sent.
    fn consumer(&self) -> &str;
}

/// A generated request that also names an event.
pub trait NamesEvent: NamesProjection {
    /// Returns the id of the event, as it was sent.
    fn event_id(&self) -> &str;
}

/// The quarantine service of one package: its name, its generated types and its generated client.
pub trait QuarantineApi: Send + Sync + 'static {
    /// The name of the service of Parta.
    const SERVICE: &'static str;
    /// The full names of its RPCs.
    const RPCS: [&'static str; 6];
    /// The request of `GetConsumerStatus`.
    type Status: Message + Default;
    /// The request of `ListQuarantines`.
    type List: Message + Default;
    /// The request of `ExplainQuarantine`.
    type Explain: NamesProjection;
    /// The request of `RetryQuarantine`.
    type Retry: NamesProjection + MutationRequest;
    /// The request of `SkipQuarantinedEvent`.
    type Skip: NamesEvent + MutationRequest;
    /// The request of `RebuildProjection`.
    type Rebuild: NamesProjection + MutationRequest;
    /// Returns the size and the token of a page.
    fn page(request: &Self::List) -> (i32, &str);
    /// Calls `GetConsumerStatus`.
    fn status<T: Channel>(channel: T) -> impl Future<Output = Result<Vec<ConsumerStatus>, Status>> + Send;
    /// Calls `ListQuarantines` for a page of 200. Returns the quarantines and the token of the next page.
    fn list<T: Channel>(
        channel: T,
        page_token: String,
    ) -> impl Future<Output = Result<(Vec<Quarantine>, String), Status>> + Send;
    /// Calls `ExplainQuarantine`.
    fn explain<T: Channel>(
        channel: T,
        org_id: String,
        consumer: String,
    ) -> impl Future<Output = Result<Option<Quarantine>, Status>> + Send;
    /// Calls `RetryQuarantine`.
    fn retry<T: Channel>(
        channel: T,
        request_id: String,
        org_id: String,
        consumer: String,
    ) -> impl Future<Output = Result<(), Status>> + Send;
    /// Calls `SkipQuarantinedEvent`.
    fn skip<T: Channel>(
        channel: T,
        request_id: String,
        org_id: String,
        consumer: String,
        event_id: String,
    ) -> impl Future<Output = Result<(), Status>> + Send;
    /// Calls `RebuildProjection`.
    fn rebuild<T: Channel>(
        channel: T,
        request_id: String,
        org_id: String,
        consumer: String,
    ) -> impl Future<Output = Result<(), Status>> + Send;
}

/// Serves the quarantines of a service. An implementation is a server of the generated service of its
/// package.
#[tonic::async_trait]
pub trait ServeQuarantines: Send + Sync + 'static {
    /// The generated service.
    type Api: QuarantineApi;
    /// Answers `GetConsumerStatus`.
    async fn get_consumer_status(
        &self,
        request: Request<<Self::Api as QuarantineApi>::Status>,
    ) -> Result<Vec<ConsumerStatus>, Status>;
    /// Answers `ListQuarantines` with the quarantines and the token of the next page.
    async fn list_quarantines(
        &self,
        request: Request<<Self::Api as QuarantineApi>::List>,
    ) -> Result<(Vec<Quarantine>, String), Status>;
    /// Answers `ExplainQuarantine`.
    async fn explain_quarantine(
        &self,
        request: Request<<Self::Api as QuarantineApi>::Explain>,
    ) -> Result<Quarantine, Status>;
    /// Answers `RetryQuarantine` with the consistency token.
    async fn retry_quarantine(
        &self,
        request: Request<<Self::Api as QuarantineApi>::Retry>,
    ) -> Result<String, Status>;
    /// Answers `SkipQuarantinedEvent` with the consistency token.
    async fn skip_quarantined_event(
        &self,
        request: Request<<Self::Api as QuarantineApi>::Skip>,
    ) -> Result<String, Status>;
    /// Answers `RebuildProjection` with the consistency token.
    async fn rebuild_projection(
        &self,
        request: Request<<Self::Api as QuarantineApi>::Rebuild>,
    ) -> Result<String, Status>;
}

/// Implements [`QuarantineApi`] and the generated service for the quarantines of the package `v1`.
#[macro_export]
macro_rules! quarantine_api {
    (
        $(#[$doc:meta])* $api:ident, $service:literal, $full_name:literal,
        $server:ident :: $trait:ident, $client_module:ident :: $client:ident
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $api;

        const _: () = {
            use $crate::{
                FeedChannel, NamesEvent, NamesProjection, QuarantineApi, ServeQuarantines,
                feed::v1::{ConsumerStatus, Quarantine},
                tonic::{self, Request, Response, Status},
            };

            impl NamesProjection for v1::ExplainQuarantineRequest {
                fn org_id(&self) -> &str {
                    &self.org_id
                }
                fn consumer(&self) -> &str {
                    &self.consumer
                }
            }

            impl NamesProjection for v1::RetryQuarantineRequest {
                fn org_id(&self) -> &str {
                    &self.org_id
                }
                fn consumer(&self) -> &str {
                    &self.consumer
                }
            }

            impl NamesProjection for v1::SkipQuarantinedEventRequest {
                fn org_id(&self) -> &str {
                    &self.org_id
                }
                fn consumer(&self) -> &str {
                    &self.consumer
                }
            }

            impl NamesProjection for v1::RebuildProjectionRequest {
                fn org_id(&self) -> &str {
                    &self.org_id
                }
                fn consumer(&self) -> &str {
                    &self.consumer
                }
            }

            impl NamesEvent for v1::SkipQuarantinedEventRequest {
                fn event_id(&self) -> &str {
                    &self.event_id
                }
            }

            impl QuarantineApi for $api {
                const SERVICE: &'static str = $service;
                const RPCS: [&'static str; 6] = [
                    concat!($full_name, "/GetConsumerStatus"),
                    concat!($full_name, "/ListQuarantines"),
                    concat!($full_name, "/ExplainQuarantine"),
                    concat!($full_name, "/RetryQuarantine"),
                    concat!($full_name, "/SkipQuarantinedEvent"),
                    concat!($full_name, "/RebuildProjection"),
                ];
                type Status = v1::GetConsumerStatusRequest;
                type List = v1::ListQuarantinesRequest;
                type Explain = v1::ExplainQuarantineRequest;
                type Retry = v1::RetryQuarantineRequest;
                type Skip = v1::SkipQuarantinedEventRequest;
                type Rebuild = v1::RebuildProjectionRequest;

                fn page(request: &v1::ListQuarantinesRequest) -> (i32, &str) {
                    (request.page_size, &request.page_token)
                }

                async fn status<T: FeedChannel>(channel: T) -> Result<Vec<ConsumerStatus>, Status> {
                    let mut client = v1::$client_module::$client::new(channel);
                    let response = client.get_consumer_status(v1::GetConsumerStatusRequest {}).await?;
                    Ok(response.into_inner().consumers)
                }

                async fn list<T: FeedChannel>(
                    channel: T,
                    page_token: String,
                ) -> Result<(Vec<Quarantine>, String), Status> {
                    let mut client = v1::$client_module::$client::new(channel);
                    let request = v1::ListQuarantinesRequest { page_size: 200, page_token };
                    let response = client.list_quarantines(request).await?.into_inner();
                    Ok((response.quarantines, response.next_page_token))
                }

                async fn explain<T: FeedChannel>(
                    channel: T,
                    org_id: String,
                    consumer: String,
                ) -> Result<Option<Quarantine>, Status> {
                    let mut client = v1::$client_module::$client::new(channel);
                    let request = v1::ExplainQuarantineRequest { org_id, consumer };
                    Ok(client.explain_quarantine(request).await?.into_inner().quarantine)
                }

                async fn retry<T: FeedChannel>(
                    channel: T,
                    request_id: String,
                    org_id: String,
                    consumer: String,
                ) -> Result<(), Status> {
                    let mut client = v1::$client_module::$client::new(channel);
                    let request = v1::RetryQuarantineRequest { request_id, org_id, consumer };
                    client.retry_quarantine(request).await.map(|_| ())
                }

                async fn skip<T: FeedChannel>(
                    channel: T,
                    request_id: String,
                    org_id: String,
                    consumer: String,
                    event_id: String,
                ) -> Result<(), Status> {
                    let mut client = v1::$client_module::$client::new(channel);
                    let request =
                        v1::SkipQuarantinedEventRequest { request_id, org_id, consumer, event_id };
                    client.skip_quarantined_event(request).await.map(|_| ())
                }

                async fn rebuild<T: FeedChannel>(
                    channel: T,
                    request_id: String,
                    org_id: String,
                    consumer: String,
                ) -> Result<(), Status> {
                    let mut client = v1::$client_module::$client::new(channel);
                    let request = v1::RebuildProjectionRequest { request_id, org_id, consumer };
                    client.rebuild_projection(request).await.map(|_| ())
                }
            }

            #[tonic::async_trait]
            impl<S: ServeQuarantines<Api = $api>> v1::$server::$trait for S {
                async fn get_consumer_status(
                    &self,
                    request: Request<v1::GetConsumerStatusRequest>,
                ) -> Result<Response<v1::GetConsumerStatusResponse>, Status> {
                    let consumers = ServeQuarantines::get_consumer_status(self, request).await?;
                    Ok(Response::new(v1::GetConsumerStatusResponse { consumers }))
                }

                async fn list_quarantines(
                    &self,
                    request: Request<v1::ListQuarantinesRequest>,
                ) -> Result<Response<v1::ListQuarantinesResponse>, Status> {
                    let (quarantines, next_page_token) =
                        ServeQuarantines::list_quarantines(self, request).await?;
                    Ok(Response::new(v1::ListQuarantinesResponse { quarantines, next_page_token }))
                }

                async fn explain_quarantine(
                    &self,
                    request: Request<v1::ExplainQuarantineRequest>,
                ) -> Result<Response<v1::ExplainQuarantineResponse>, Status> {
                    let quarantine = ServeQuarantines::explain_quarantine(self, request).await?;
                    Ok(Response::new(v1::ExplainQuarantineResponse { quarantine: Some(quarantine) }))
                }

                async fn retry_quarantine(
                    &self,
                    request: Request<v1::RetryQuarantineRequest>,
                ) -> Result<Response<v1::RetryQuarantineResponse>, Status> {
                    let consistency_token = ServeQuarantines::retry_quarantine(self, request).await?;
                    Ok(Response::new(v1::RetryQuarantineResponse { consistency_token }))
                }

                async fn skip_quarantined_event(
                    &self,
                    request: Request<v1::SkipQuarantinedEventRequest>,
                ) -> Result<Response<v1::SkipQuarantinedEventResponse>, Status> {
                    let consistency_token =
                        ServeQuarantines::skip_quarantined_event(self, request).await?;
                    Ok(Response::new(v1::SkipQuarantinedEventResponse { consistency_token }))
                }

                async fn rebuild_projection(
                    &self,
                    request: Request<v1::RebuildProjectionRequest>,
                ) -> Result<Response<v1::RebuildProjectionResponse>, Status> {
                    let consistency_token = ServeQuarantines::rebuild_projection(self, request).await?;
                    Ok(Response::new(v1::RebuildProjectionResponse { consistency_token }))
                }
            }
        };
    };
}
