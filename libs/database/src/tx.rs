use std::{
    any::{Any, TypeId},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parta_ids::{Env, OrgId};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, Value};
use uuid::Uuid;

use crate::{
    Db, LogHead, StorageError, Transaction, WriteGuard,
    error::{Class, class},
    head,
    run_to_completion::RunToCompletion,
};

/// A hook that runs once before commit and is notified after commit.
///
/// The event log uses one, because it must take its positions last. A transaction has at most one step of
/// each type.
#[async_trait]
pub trait CommitStep: Any + Send + Sync + Default {
    /// Runs inside the transaction after all other work.
    async fn before_commit(&self, tx: &Tx) -> Result<(), StorageError>;
    /// Runs after the commit. A crash can skip it, so it may only send hints.
    fn after_commit(&self, db: &Db);
    /// Runs instead if the connection broke during the commit, so that the transaction was committed, is
    /// being committed, or was rolled back. It runs once more when a repetition has ended, which waits for
    /// the locks of this transaction and may skip the work that gave the hints. The default does nothing.
    fn after_unknown_commit(&self, db: &Db) {
        let _ = db;
    }
}

#[async_trait]
pub(crate) trait ErasedStep: Send + Sync {
    async fn before(&self, tx: &Tx) -> Result<(), StorageError>;
    fn after(&self, db: &Db);
    fn after_unknown(&self, db: &Db);
}

#[async_trait]
impl<S: CommitStep> ErasedStep for S {
    async fn before(&self, tx: &Tx) -> Result<(), StorageError> {
        self.before_commit(tx).await
    }
    fn after(&self, db: &Db) {
        self.after_commit(db);
    }
    fn after_unknown(&self, db: &Db) {
        self.after_unknown_commit(db);
    }
}

struct Step {
    kind: TypeId,
    any: Arc<dyn Any + Send + Sync>,
    step: Arc<dyn ErasedStep>,
}

/// The event log to which a transaction appends: that of one organization.
#[derive(Default)]
struct Log {
    /// The organization of the appended events.
    appended: Option<OrgId>,
    /// The organization for which the transaction acts, while it has appended nothing.
    scope: Option<OrgId>,
    /// The head after the appended events.
    head: Option<LogHead>,
}

#[derive(Default)]
struct Steps {
    pending: Vec<Step>,
    done: Vec<Arc<dyn ErasedStep>>,
}

/// A handle of one open transaction; every clone refers to the same transaction. All clones must be dropped
/// when the closure that received it returns. It implements `ConnectionTrait`.
#[derive(Clone)]
pub struct Tx(Arc<Inner>);

struct Inner {
    // Declared before the guard: an abandoned transaction is rolled back before the next writer acquires the
    // lock.
    conn: Transaction,
    db: Db,
    request_id: OnceLock<Uuid>,
    log: Mutex<Log>,
    now: DateTime<Utc>,
    steps: Mutex<Steps>,
    failure: Mutex<Option<DbErr>>,
    _guard: Option<WriteGuard>,
}

/// The result of ending a transaction.
pub(crate) enum End<T, E> {
    Done(T),
    Failed(E),
    Again(StorageError),
    /// The connection broke during the commit, and a repetition is harmless.
    Unknown(StorageError, Vec<Arc<dyn ErasedStep>>),
    /// A unique key is taken. If another transaction took it meanwhile, another run finds its row.
    LookAgain(E),
}

/// The hooks of commits of unknown outcome. They run again when this value is dropped, after the repetition.
pub(crate) struct UnknownCommits<'a> {
    pub(crate) db: &'a Db,
    pub(crate) steps: Vec<Arc<dyn ErasedStep>>,
}

impl Drop for UnknownCommits<'_> {
    fn drop(&mut self) {
        for step in &self.steps {
            step.after_unknown(self.db);
        }
    }
}

impl Inner {
    /// Commits and then runs the hooks. Must run to completion: a commit takes effect even if its caller is
    /// dropped. After a commit of unknown outcome the hooks are returned with the error.
    async fn commit(self) -> Result<(), (DbErr, Vec<Arc<dyn ErasedStep>>)> {
        let Self {
            conn,
            db,
            steps,
            _guard,
            ..
        } = self;
        let committed = conn.commit().await;
        let done = steps.into_inner().unwrap_or_else(PoisonError::into_inner).done;
        match committed {
            Ok(()) => {
                for step in done {
                    step.after(&db);
                }
                Ok(())
            }
            Err(error) if class(&error) == Class::Broken => {
                for step in &done {
                    step.after_unknown(&db);
                }
                Err((error, done))
            }
            Err(error) => Err((error, Vec::new())),
        }
    }
}

impl AsRef<Db> for Tx {
    fn as_ref(&self) -> &Db {
        self.db()
    }
}

impl Tx {
    pub(crate) fn new(conn: Transaction, db: &Db, guard: Option<WriteGuard>) -> Self {
        Self(Arc::new(Inner {
            conn,
            now: db.env().now(),
            db: db.clone(),
            request_id: OnceLock::new(),
            log: Mutex::default(),
            steps: Mutex::default(),
            failure: Mutex::default(),
            _guard: guard,
        }))
    }

    /// Returns the connection for queries, which is the handle itself.
    pub fn conn(&self) -> &Self {
        self
    }

    /// Executes a statement by hand with the values of its parameters. Returns the number of rows that it
    /// changed.
    pub async fn execute_sql(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<u64, DbErr> {
        let statement = Statement::from_sql_and_values(self.get_database_backend(), sql, values);
        Ok(self.execute_raw(statement).await?.rows_affected())
    }

    /// Returns the database of the transaction.
    pub fn db(&self) -> &Db {
        &self.0.db
    }

    /// Returns the clock and the id source.
    pub fn env(&self) -> &Env {
        self.0.db.env()
    }

    /// Returns the time of the transaction, which is the same at each call.
    pub fn now(&self) -> DateTime<Utc> {
        self.0.now
    }

    /// Returns the `request_id` of the mutation that is being carried out; `None` in a plain write or read.
    pub fn request_id(&self) -> Option<Uuid> {
        self.0.request_id.get().copied()
    }

    /// Names the mutation that this transaction carries out. The first call counts, because a transaction
    /// carries out one.
    pub fn set_request_id(&self, request_id: Uuid) {
        self.0.request_id.get_or_init(|| request_id);
    }

    /// Returns the step of this type. It is created at the first call and runs before the commit.
    pub fn step<S: CommitStep>(&self) -> Arc<S> {
        let mut steps = self.0.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = TypeId::of::<S>();
        let found = steps
            .pending
            .iter()
            .find(|s| s.kind == kind)
            .map(|s| s.any.clone());
        if let Some(step) = found.and_then(|any| any.downcast::<S>().ok()) {
            return step;
        }
        let step = Arc::new(S::default());
        steps.pending.push(Step {
            kind,
            any: step.clone(),
            step: step.clone(),
        });
        step
    }

    /// Names the organization to whose log this transaction appends. The first call counts.
    pub fn append_to(&self, org_id: OrgId) {
        self.log().appended.get_or_insert(org_id);
    }

    /// Names the organization for which the transaction acts. It counts until the transaction appends an
    /// event.
    pub fn act_for(&self, org_id: Option<OrgId>) {
        let mut log = self.log();
        log.scope = log.scope.or(org_id);
    }

    /// Returns the organization to whose log the transaction has appended, or else for which it acts.
    pub fn log_org(&self) -> Option<OrgId> {
        let log = self.log();
        log.appended.or(log.scope)
    }

    /// Notes the head of the log after the appended events.
    pub fn set_head(&self, head: LogHead) {
        self.log().head = Some(head);
    }

    /// Returns the head of the log of an organization as seen by this transaction.
    pub async fn head(&self, org_id: OrgId) -> Result<LogHead, StorageError> {
        let appended = {
            let log = self.log();
            log.head.filter(|_| log.appended == Some(org_id))
        };
        match appended {
            Some(head) => Ok(head),
            None => head::read(self, org_id).await,
        }
    }

    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the steps before the commit now; the commit runs them otherwise. The step of the event log takes
    /// its positions and locks the head of the log, so call it after all other work.
    pub async fn run_steps(&self) -> Result<(), StorageError> {
        loop {
            let next = {
                let mut steps = self.0.steps.lock().unwrap_or_else(PoisonError::into_inner);
                if steps.pending.is_empty() {
                    None
                } else {
                    Some(steps.pending.remove(0))
                }
            };
            let Some(next) = next else { return Ok(()) };
            next.step.before(self).await?;
            self.0
                .steps
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .done
                .push(next.step);
        }
    }

    pub(crate) fn transaction(&self) -> &Transaction {
        &self.0.conn
    }

    fn failure(&self) -> Option<DbErr> {
        self.0
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Commits on success and rolls back on failure. `resumable` means that a retry after a commit of unknown
    /// outcome is harmless, because the idempotency record detects it.
    pub(crate) async fn end<T, E: From<StorageError>>(
        self,
        result: Result<T, E>,
        resumable: bool,
    ) -> End<T, E> {
        let result = match result {
            Ok(value) => match self.run_steps().await {
                Ok(()) => Ok(value),
                Err(error) => Err(E::from(error)),
            },
            Err(error) => Err(error),
        };
        let failure = self.failure();
        let Ok(inner) = Arc::try_unwrap(self.0) else {
            return End::Failed(E::from(StorageError::Fault(
                "a transaction was kept beyond its closure".into(),
            )));
        };
        match (result, failure) {
            // PostgreSQL replies to COMMIT of a failed transaction with a silent rollback. An error that the
            // closure swallowed must not be reported as a success.
            (Ok(_), Some(error)) => {
                let again = class(&error) == Class::Retry;
                roll_back(inner.conn).await;
                let error = StorageError::from(error);
                if again {
                    End::Again(error)
                } else {
                    End::Failed(E::from(error))
                }
            }
            (Ok(value), None) => match RunToCompletion::new(inner.commit()).await {
                Ok(()) => End::Done(value),
                Err((error, steps)) => match class(&error) {
                    Class::Retry => End::Again(error.into()),
                    Class::Broken if resumable => End::Unknown(error.into(), steps),
                    _ => End::Failed(E::from(error.into())),
                },
            },
            (Err(error), failure) => {
                roll_back(inner.conn).await;
                match failure {
                    Some(cause) if class(&cause) == Class::Retry => End::Again(cause.into()),
                    Some(cause) if resumable && class(&cause) == Class::Broken => End::Again(cause.into()),
                    Some(cause) if class(&cause) == Class::Duplicate => End::LookAgain(error),
                    _ => End::Failed(error),
                }
            }
        }
    }

    fn note<T>(&self, result: Result<T, DbErr>) -> Result<T, DbErr> {
        if let Err(error) = &result {
            let mut failure = self.0.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| error.clone());
        }
        result
    }
}

async fn roll_back(conn: Transaction) {
    if let Err(error) = conn.rollback().await {
        // The connection is lost, and the transaction with it.
        tracing::debug!(%error, "rollback failed");
    }
}

#[async_trait]
impl ConnectionTrait for Tx {
    fn get_database_backend(&self) -> DbBackend {
        self.0.conn.get_database_backend()
    }
    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        self.note(self.0.conn.execute_raw(stmt).await)
    }
    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.note(self.0.conn.execute_unprepared(sql).await)
    }
    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.note(self.0.conn.query_one_raw(stmt).await)
    }
    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.note(self.0.conn.query_all_raw(stmt).await)
    }
}

impl std::fmt::Debug for Tx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx")
            .field("service", &self.0.db.service())
            .finish_non_exhaustive()
    }
}
