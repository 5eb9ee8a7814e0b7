//! The gRPC services for the operator of an installation. Each package declares them under its own name, and
//! all take and return the same messages, so that one implementation serves them all.
use tonic::{Request, Response, Status};

use crate::{
    feed::v1::{
        ExplainQuarantineRequest, ExplainQuarantineResponse, GetConsumerStatusRequest,
        GetConsumerStatusResponse, ListQuarantinesRequest, ListQuarantinesResponse, RebuildProjectionRequest,
        RebuildProjectionResponse, RetryQuarantineRequest, RetryQuarantineResponse,
        SkipQuarantinedEventRequest, SkipQuarantinedEventResponse,
    },
    jobs::v1::{
        DropJobRequest, DropJobResponse, ListJobsRequest, ListJobsResponse, RetryJobRequest, RetryJobResponse,
    },
};

/// Serves the jobs of a service. An implementation implements the generated service of every package.
#[tonic::async_trait]
pub trait ServeJobs: Send + Sync + 'static {
    /// Handles `ListJobs`.
    async fn list_jobs(
        &self,
        request: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsResponse>, Status>;
    /// Handles `RetryJob`.
    async fn retry_job(
        &self,
        request: Request<RetryJobRequest>,
    ) -> Result<Response<RetryJobResponse>, Status>;
    /// Handles `DropJob`.
    async fn drop_job(&self, request: Request<DropJobRequest>) -> Result<Response<DropJobResponse>, Status>;
}

/// Serves the quarantines of a service. An implementation implements the generated service of every package.
#[tonic::async_trait]
pub trait ServeQuarantines: Send + Sync + 'static {
    /// Handles `GetConsumerStatus`.
    async fn get_consumer_status(
        &self,
        request: Request<GetConsumerStatusRequest>,
    ) -> Result<Response<GetConsumerStatusResponse>, Status>;
    /// Handles `ListQuarantines`.
    async fn list_quarantines(
        &self,
        request: Request<ListQuarantinesRequest>,
    ) -> Result<Response<ListQuarantinesResponse>, Status>;
    /// Handles `ExplainQuarantine`.
    async fn explain_quarantine(
        &self,
        request: Request<ExplainQuarantineRequest>,
    ) -> Result<Response<ExplainQuarantineResponse>, Status>;
    /// Handles `RetryQuarantine`.
    async fn retry_quarantine(
        &self,
        request: Request<RetryQuarantineRequest>,
    ) -> Result<Response<RetryQuarantineResponse>, Status>;
    /// Handles `SkipQuarantinedEvent`.
    async fn skip_quarantined_event(
        &self,
        request: Request<SkipQuarantinedEventRequest>,
    ) -> Result<Response<SkipQuarantinedEventResponse>, Status>;
    /// Handles `RebuildProjection`.
    async fn rebuild_projection(
        &self,
        request: Request<RebuildProjectionRequest>,
    ) -> Result<Response<RebuildProjectionResponse>, Status>;
}

/// Implements the services for the operator of the package `v1` by [`ServeJobs`] and [`ServeQuarantines`],
/// and defines `OPERATOR_RPCS`, the full names of their RPCs. The arguments are the package with the
/// beginning of the names of its services, and the generated traits.
#[macro_export]
macro_rules! operator_services {
    ($prefix:literal, $jobs:ident :: $jobs_trait:ident, $quarantines:ident :: $quarantines_trait:ident) => {
        /// The full names of the RPCs for the operator of an installation.
        pub const OPERATOR_RPCS: [&str; 9] = [
            concat!($prefix, "JobService/ListJobs"),
            concat!($prefix, "JobService/RetryJob"),
            concat!($prefix, "JobService/DropJob"),
            concat!($prefix, "QuarantineService/GetConsumerStatus"),
            concat!($prefix, "QuarantineService/ListQuarantines"),
            concat!($prefix, "QuarantineService/ExplainQuarantine"),
            concat!($prefix, "QuarantineService/RetryQuarantine"),
            concat!($prefix, "QuarantineService/SkipQuarantinedEvent"),
            concat!($prefix, "QuarantineService/RebuildProjection"),
        ];

        $crate::delegate_service! {
            ServeJobs of jobs as v1::$jobs::$jobs_trait, {
                list_jobs: ListJobsRequest => ListJobsResponse,
                retry_job: RetryJobRequest => RetryJobResponse,
                drop_job: DropJobRequest => DropJobResponse,
            }
        }

        $crate::delegate_service! {
            ServeQuarantines of feed as v1::$quarantines::$quarantines_trait, {
                get_consumer_status: GetConsumerStatusRequest => GetConsumerStatusResponse,
                list_quarantines: ListQuarantinesRequest => ListQuarantinesResponse,
                explain_quarantine: ExplainQuarantineRequest => ExplainQuarantineResponse,
                retry_quarantine: RetryQuarantineRequest => RetryQuarantineResponse,
                skip_quarantined_event: SkipQuarantinedEventRequest => SkipQuarantinedEventResponse,
                rebuild_projection: RebuildProjectionRequest => RebuildProjectionResponse,
            }
        }
    };
}

/// Implements a generated service for every type that implements a trait of this crate with the same
/// methods, on messages of a package of this crate.
#[doc(hidden)]
#[macro_export]
macro_rules! delegate_service {
    (
        $shared:ident of $messages:ident as $service:path,
        { $($method:ident: $request:ident => $response:ident,)* }
    ) => {
        const _: () = {
            use $crate::{
                $shared,
                $messages::v1::{$($request, $response),*},
                tonic::{self, Request, Response, Status},
            };

            #[tonic::async_trait]
            impl<S: $shared> $service for S {
                $(
                    async fn $method(&self, request: Request<$request>) -> Result<Response<$response>, Status> {
                        $shared::$method(self, request).await
                    }
                )*
            }
        };
    };
}
