use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use opentelemetry::{KeyValue, global, metrics::Counter};
use parta_access::OrgScope;
use parta_database::Tx;
use parta_ids::{AccountId, MemberId};
use parta_jobs::{Job, JobError, JobHandler, Limits};
use parta_roster::{MemberContext, Role, State};
use parta_status::RpcError;

use crate::{
    accounts::{self, Address},
    context::Context,
    delivery::{self, Failure, Message, Sender},
    error::Error,
    guardianships, join_requests,
    member_records::{self, Member},
    notices::{self, JOB, Notice, text, without_content},
    suspensions,
};

/// Notices wait for each other rather than for a school that sends many of them.
pub(crate) const JOB_LIMITS: Limits = Limits {
    concurrent: 16,
    per_organization: 4,
    attempt_timeout: Some(Duration::from_secs(30)),
    max_retry_delay: Limits::RETRY_DELAY,
};

/// The job that judges and sends a notice.
pub(crate) struct DeliverNotice {
    context: Arc<Context>,
    /// `None` if messages stay in the development outbox.
    sender: Option<Arc<Sender>>,
    outcomes: Counter<u64>,
}

/// The person to whom a notice goes.
struct Recipient {
    account_id: AccountId,
    is_pupil: bool,
    /// The name of the child in the text; empty if the text has none.
    child: String,
}

impl Recipient {
    /// A member who has joined and has not left.
    fn of(member: &Member) -> Option<Self> {
        let account_id = member.account_id.filter(|_| member.state == State::Active)?;
        Some(Self {
            account_id,
            is_pupil: member.has(Role::Pupil),
            child: String::new(),
        })
    }
}

/// A judged notice.
enum Judged {
    Send(Address, Message),
    /// Nothing is left to send, for the reason that the metric names.
    Done(&'static str),
}

/// Loads the person who a member is.
async fn member(tx: &Tx, scope: &OrgScope, id: MemberId) -> Result<Option<Recipient>, Error> {
    let row = member_records::storage::find(tx, scope, id).await?;
    Ok(row.as_ref().and_then(Recipient::of))
}

/// The person who receives a notice for one person, by the facts of this moment.
async fn recipient(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    notice: Notice,
) -> Result<Option<Recipient>, Error> {
    match notice {
        Notice::SuspensionBegun { suspension_id } => {
            let Some(suspended) = suspensions::suspended(tx, scope, suspension_id).await? else {
                return Ok(None);
            };
            if guardianships::is_protected(tx, scope, suspended).await? {
                return Ok(None);
            }
            member(tx, scope, suspended).await
        }
        Notice::RelationLimited { guardianship_id } => {
            let Some(relation) = guardianships::relation(tx, scope, guardianship_id).await? else {
                return Ok(None);
            };
            let (guardian, child) = (relation.guardian_id, relation.child_id);
            let facts = context.contexts_of(tx, scope.org_id(), guardian).await?;
            let is_parent =
                facts.is_some_and(|facts| facts.is_active() && facts.roles.contains(&Role::Parent));
            if !is_parent || guardianships::is_protected(tx, scope, child).await? {
                return Ok(None);
            }
            let Some(to) = member(tx, scope, guardian).await? else {
                return Ok(None);
            };
            // A person whose relation nobody has confirmed may not know the child.
            let named = member_records::storage::find(tx, scope, child).await?;
            let named = named.filter(|_| relation.confirmed);
            Ok(Some(Recipient {
                child: named.map(|child| child.full_name).unwrap_or_default(),
                ..to
            }))
        }
        Notice::JoinRequestDecided { join_request_id } => {
            let decided = join_requests::decided(tx, scope, join_request_id).await?;
            Ok(decided.map(|(account_id, role)| Recipient {
                account_id,
                is_pupil: role == Role::Pupil,
                child: String::new(),
            }))
        }
        Notice::CodeIssued { recipient_id, .. } | Notice::CodeUsed { recipient_id, .. } => {
            let recipients = recipients(context, tx, scope, notice).await?;
            match recipient_id.filter(|id| recipients.contains(id)) {
                Some(id) => member(tx, scope, id).await,
                None => Ok(None),
            }
        }
        Notice::SuspensionToDecide { decider_id, .. } | Notice::LimitToDecide { decider_id, .. } => {
            let deciders = recipients(context, tx, scope, notice).await?;
            match decider_id.filter(|id| deciders.contains(id)) {
                Some(id) => member(tx, scope, id).await,
                None => Ok(None),
            }
        }
    }
}

/// The members to whom a notice for several people goes: those who may decide about its matter, none if it
/// was decided; the member of a one-time code with the guardians of a pupil.
async fn recipients(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    notice: Notice,
) -> Result<Vec<MemberId>, Error> {
    let administration = context.roster.administration(tx, scope.org_id()).await?;
    let ids = |members: Vec<MemberContext>| members.into_iter().map(|facts| facts.member_id).collect();
    match notice {
        Notice::SuspensionToDecide { suspension_id, .. } => {
            suspensions::second_persons(tx, scope, suspension_id, ids(administration)).await
        }
        Notice::LimitToDecide { guardianship_id, .. } => {
            let is_head = |facts: &MemberContext| facts.roles.contains(&Role::Head);
            let (heads, others): (Vec<_>, Vec<_>) = administration.into_iter().partition(is_head);
            let heads = guardianships::awaited(tx, scope, guardianship_id, ids(heads)).await?;
            if heads.is_empty() {
                guardianships::awaited(tx, scope, guardianship_id, ids(others)).await
            } else {
                Ok(heads)
            }
        }
        Notice::CodeIssued { member_id, .. } | Notice::CodeUsed { member_id, .. } => {
            // Nothing about a protected family goes to contacts that nobody has checked (F13).
            if guardianships::is_protected(tx, scope, member_id).await? {
                return Ok(Vec::new());
            }
            let mut informed = guardianships::informed_guardians(tx, scope, member_id).await?;
            informed.push(member_id);
            Ok(informed)
        }
        _ => Ok(Vec::new()),
    }
}

/// Enqueues a notice for each of its recipients. `None` if the notice is for one person already.
async fn address_recipients(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    notice: Notice,
) -> Result<Option<Judged>, Error> {
    let for_one = |one: MemberId| match notice {
        Notice::SuspensionToDecide { suspension_id, .. } => Notice::SuspensionToDecide {
            suspension_id,
            decider_id: Some(one),
        },
        Notice::LimitToDecide { guardianship_id, .. } => Notice::LimitToDecide {
            guardianship_id,
            decider_id: Some(one),
        },
        Notice::CodeIssued { member_id, .. } => Notice::CodeIssued {
            member_id,
            recipient_id: Some(one),
        },
        Notice::CodeUsed { member_id, .. } => Notice::CodeUsed {
            member_id,
            recipient_id: Some(one),
        },
        other => other,
    };
    match notice {
        Notice::SuspensionToDecide { decider_id: None, .. }
        | Notice::LimitToDecide { decider_id: None, .. }
        | Notice::CodeIssued {
            recipient_id: None, ..
        }
        | Notice::CodeUsed {
            recipient_id: None, ..
        } => {
            for one in recipients(context, tx, scope, notice).await? {
                notices::deliver(tx, scope.org_id(), for_one(one)).await?;
            }
            Ok(Some(Judged::Done("addressed")))
        }
        _ => Ok(None),
    }
}

async fn judge(context: &Context, tx: &Tx, scope: &OrgScope, notice: Notice) -> Result<Judged, Error> {
    if let Some(addressed) = address_recipients(context, tx, scope, notice).await? {
        return Ok(addressed);
    }
    let Some(to) = recipient(context, tx, scope, notice).await? else {
        return Ok(Judged::Done("dropped"));
    };
    let addresses = accounts::addresses(tx, to.account_id).await?;
    let Some(address) = addresses.first().and_then(|text| Address::from_stored(text)) else {
        return Ok(Judged::Done("dropped"));
    };
    let organization = context.roster.organization(tx, scope.org_id()).await?;
    let organization = organization.map(|known| known.display_name).unwrap_or_default();
    let message = if to.is_pupil {
        without_content(&organization)
    } else {
        text(notice, &organization, &to.child)
    };
    if context.channels.outbox {
        delivery::store(tx, &address, &message).await?;
        return Ok(Judged::Done("sent"));
    }
    Ok(Judged::Send(address, message))
}

impl DeliverNotice {
    pub(crate) fn new(context: Arc<Context>, sender: Option<Arc<Sender>>) -> Self {
        let meter = global::meter("parta");
        let counter = meter.u64_counter("membership.notices");
        Self {
            context,
            sender,
            outcomes: counter
                .with_description("Attempts to deliver a notice, by template and outcome")
                .build(),
        }
    }

    fn count(&self, notice: Notice, outcome: &'static str) {
        let labels = [
            KeyValue::new("template", notice.template()),
            KeyValue::new("outcome", outcome),
        ];
        self.outcomes.add(1, &labels);
    }

    async fn send(&self, job: &Job, address: &Address, message: &Message) -> Result<(), Failure> {
        match &self.sender {
            Some(sender) => sender.hand_over(job, address, message).await,
            // The configuration changed while the job waited.
            None => Err(Failure::Permanent("no_channel".to_owned())),
        }
    }
}

#[async_trait]
impl JobHandler for DeliverNotice {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let fatal = |why: &str| JobError::Fatal(why.to_owned());
        let org = job.org_id.ok_or_else(|| fatal("the job names no organization"))?;
        let notice =
            notices::notice_of(&job.payload).ok_or_else(|| fatal("the payload names no known template"))?;
        let (context, scope) = (&*self.context, &OrgScope::for_consumer(JOB, org));
        let judged = context
            .db
            .write(|tx| async move { judge(context, &tx, scope, notice).await })
            .await;
        let judged = judged.map_err(|error| JobError::Retry(RpcError::from(error).reason().to_owned()))?;
        let (address, message) = match judged {
            Judged::Send(address, message) => (address, message),
            Judged::Done(outcome) => {
                self.count(notice, outcome);
                return Ok(());
            }
        };
        match self.send(job, &address, &message).await {
            Ok(()) => {
                self.count(notice, "sent");
                Ok(())
            }
            // The runner logs the failure.
            Err(Failure::Temporary(failure)) => {
                self.count(notice, "retried");
                Err(JobError::Retry(format!(
                    "{}: {failure}",
                    delivery::channel(&address)
                )))
            }
            Err(Failure::Permanent(failure)) => {
                self.count(notice, "refused");
                let (channel, template) = (delivery::channel(&address), notice.template());
                tracing::warn!(channel, failure, template, job.id = %job.job_id, "notice refused, not sent again");
                Ok(())
            }
        }
    }
}
