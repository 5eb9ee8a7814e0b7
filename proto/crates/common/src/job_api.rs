//! The job services of all packages have the same shape. These traits let one server and one client serve all
//! of them.
use prost::Message;
use tonic::{Request, Status};

use crate::{FeedChannel as Channel, MutationRequest, jobs::v1::Job};

/// The fields of a request of `ListJobs`.
#[derive(Debug, Clone, Default)]
pub struct JobPage {
    /// Only jobs in this state, a number of `JobState`; zero for all.
    pub state: i32,
    /// Only jobs of this kind; empty for all.
    pub kind: String,
    /// Only jobs of this organization; empty for all.
    pub org_id: String,
    /// The maximum number of results; zero for the default.
    pub page_size: i32,
    /// The token of the page; empty for the first.
    pub page_token: String,
}

/// A generated request of `ListJobs`.
pub trait ListsJobs: Message + Default {
    /// Returns its fields.
    fn page(&self) -> JobPage;
}

/// A generated request that changes one job.
pub trait NamesJob: MutationRequest {
    /// Returns the id of the job, as it was sent.
    fn job_id(&self) -> &str;
}

/// The job service of one package: its name, its generated types and its generated client.
pub trait JobApi: Send + Sync + 'static {
    /// The name of the service of Parta.
    const SERVICE: &'static str;
    /// The full names of its RPCs.
    const RPCS: [&'static str; 3];
    /// The request of `ListJobs`.
    type List: ListsJobs;
    /// The request of `RetryJob`.
    type Retry: NamesJob;
    /// The request of `DropJob`.
    type Drop: NamesJob;
    /// Calls `ListJobs`. Returns the jobs and the token of the next page.
    fn list<T: Channel>(
        channel: T,
        page: JobPage,
    ) -> impl Future<Output = Result<(Vec<Job>, String), Status>> + Send;
    /// Calls `RetryJob`. Returns the job, unless it is done, and the consistency token.
    fn retry<T: Channel>(
        channel: T,
        request_id: String,
        job_id: String,
    ) -> impl Future<Output = Result<(Option<Job>, String), Status>> + Send;
    /// Calls `DropJob`. Returns the consistency token.
    fn drop<T: Channel>(
        channel: T,
        request_id: String,
        job_id: String,
    ) -> impl Future<Output = Result<String, Status>> + Send;
}

/// Serves the jobs of a service. An implementation is a server of the generated service of its package.
#[tonic::async_trait]
pub trait ServeJobs: Send + Sync + 'static {
    /// The generated service.
    type Api: JobApi;
    /// Answers `ListJobs` with the jobs and the token of the next page.
    async fn list_jobs(
        &self,
        request: Request<<Self::Api as JobApi>::List>,
    ) -> Result<(Vec<Job>, String), Status>;
    /// Answers `RetryJob` with the job, unless it is done, and the consistency token.
    async fn retry_job(
        &self,
        request: Request<<Self::Api as JobApi>::Retry>,
    ) -> Result<(Option<Job>, String), Status>;
    /// Answers `DropJob` with the consistency token.
    async fn drop_job(&self, request: Request<<Self::Api as JobApi>::Drop>) -> Result<String, Status>;
}

/// Implements [`JobApi`] and the generated service for the jobs of the package `v1`.
#[macro_export]
macro_rules! job_api {
    (
        $(#[$doc:meta])* $api:ident, $service:literal, $full_name:literal,
        $server:ident :: $trait:ident, $client_module:ident :: $client:ident
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $api;

        const _: () = {
            use $crate::{
                FeedChannel, JobApi, JobPage, ListsJobs, NamesJob, ServeJobs,
                jobs::v1::Job,
                tonic::{self, Request, Response, Status},
            };

            impl ListsJobs for v1::ListJobsRequest {
                fn page(&self) -> JobPage {
                    JobPage {
                        state: self.state,
                        kind: self.kind.clone(),
                        org_id: self.org_id.clone(),
                        page_size: self.page_size,
                        page_token: self.page_token.clone(),
                    }
                }
            }

            impl NamesJob for v1::RetryJobRequest {
                fn job_id(&self) -> &str {
                    &self.job_id
                }
            }

            impl NamesJob for v1::DropJobRequest {
                fn job_id(&self) -> &str {
                    &self.job_id
                }
            }

            impl JobApi for $api {
                const SERVICE: &'static str = $service;
                const RPCS: [&'static str; 3] = [
                    concat!($full_name, "/ListJobs"),
                    concat!($full_name, "/RetryJob"),
                    concat!($full_name, "/DropJob"),
                ];
                type List = v1::ListJobsRequest;
                type Retry = v1::RetryJobRequest;
                type Drop = v1::DropJobRequest;

                async fn list<T: FeedChannel>(
                    channel: T,
                    page: JobPage,
                ) -> Result<(Vec<Job>, String), Status> {
                    let JobPage { state, kind, org_id, page_size, page_token } = page;
                    let request = v1::ListJobsRequest { state, kind, org_id, page_size, page_token };
                    let mut client = v1::$client_module::$client::new(channel);
                    let response = client.list_jobs(request).await?.into_inner();
                    Ok((response.jobs, response.next_page_token))
                }

                async fn retry<T: FeedChannel>(
                    channel: T,
                    request_id: String,
                    job_id: String,
                ) -> Result<(Option<Job>, String), Status> {
                    let request = v1::RetryJobRequest { request_id, job_id };
                    let mut client = v1::$client_module::$client::new(channel);
                    let response = client.retry_job(request).await?.into_inner();
                    Ok((response.job, response.consistency_token))
                }

                async fn drop<T: FeedChannel>(
                    channel: T,
                    request_id: String,
                    job_id: String,
                ) -> Result<String, Status> {
                    let request = v1::DropJobRequest { request_id, job_id };
                    let mut client = v1::$client_module::$client::new(channel);
                    Ok(client.drop_job(request).await?.into_inner().consistency_token)
                }
            }

            #[tonic::async_trait]
            impl<S: ServeJobs<Api = $api>> v1::$server::$trait for S {
                async fn list_jobs(
                    &self,
                    request: Request<v1::ListJobsRequest>,
                ) -> Result<Response<v1::ListJobsResponse>, Status> {
                    let (jobs, next_page_token) = ServeJobs::list_jobs(self, request).await?;
                    Ok(Response::new(v1::ListJobsResponse { jobs, next_page_token }))
                }

                async fn retry_job(
                    &self,
                    request: Request<v1::RetryJobRequest>,
                ) -> Result<Response<v1::RetryJobResponse>, Status> {
                    let (job, consistency_token) = ServeJobs::retry_job(self, request).await?;
                    Ok(Response::new(v1::RetryJobResponse { job, consistency_token }))
                }

                async fn drop_job(
                    &self,
                    request: Request<v1::DropJobRequest>,
                ) -> Result<Response<v1::DropJobResponse>, Status> {
                    let consistency_token = ServeJobs::drop_job(self, request).await?;
                    Ok(Response::new(v1::DropJobResponse { consistency_token }))
                }
            }
        };
    };
}
