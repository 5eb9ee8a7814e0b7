//! The table `archive_position`, and the queries that move entries to the archive.
use chrono::{DateTime, Utc};
use parta_database::{Db, StorageError, Tx, count_skipped_row, table};
use parta_ids::{ChatId, OrgId, TypedId as _};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QueryResult, QuerySelect as _, Statement, Value,
    sea_query::{Expr, LockBehavior, LockType},
};
use uuid::Uuid;

use crate::entries::{chat, entry};

table!(archive_position, "archive_position", {
    #[sea_orm(primary_key, auto_increment = false)]
    position_id: i16,
    org_id: Uuid,
    chat_id: Uuid,
});

const POSITION_ID: i16 = 1;

/// The organization and the chat.
type Key = (Uuid, Uuid);

/// The time of the oldest entry of a chat that is not archived.
type Oldest = Result<Option<DateTime<Utc>>, StorageError>;

/// Before every chat.
const START: Key = (Uuid::nil(), Uuid::nil());
/// At most this many chats are checked in one step.
const STEP_MAX_CHATS: u64 = 200;

const COLUMNS: &str =
    "org_id, chat_id, seq, entry_id, kind, sender, request_id, digest, body, subject, service, create_time";

/// The result of one step through the chats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Moved this many entries of one chat.
    Moved(u64),
    /// Checked chats that have no old entries.
    Checked,
    /// Reached the last chat. The next step begins with the first.
    Finished,
    /// A chat with old entries cannot be archived, because its rows are damaged.
    Skipped,
    /// Another replica is archiving.
    Busy,
}

fn sql(conn: &impl ConnectionTrait, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(conn.get_database_backend(), sql, values)
}

/// Checks the next chats in the order of their keys, and moves up to `batch` entries older than `horizon` of
/// the first chat that has some. The position is stored in the database, so that the next step may be another
/// replica's. A damaged chat is skipped until the next pass.
pub(crate) async fn archive_step(db: &Db, horizon: DateTime<Utc>, batch: u64) -> Result<Step, StorageError> {
    let Some(from) = position(db.conn(), false).await? else {
        return Err(StorageError::Fault("the archive has no position".into()));
    };
    let chats = oldest_after(db.conn(), from).await?;
    let mut before = from;
    let mut found = None;
    for (chat, oldest) in &chats {
        match oldest {
            Ok(Some(time)) if *time < horizon => {
                found = Some(*chat);
                break;
            }
            Ok(_) => {}
            Err(error) => report_damaged(*chat, error),
        }
        before = *chat;
    }
    let finished = (chats.len() as u64) < STEP_MAX_CHATS;
    let step = db.write(|tx| async move {
        if !holds_position(&tx, from).await? {
            return Ok(Step::Busy);
        }
        let (to, step) = match found {
            Some(chat) => {
                let moved = move_entries(&tx, chat, horizon, batch).await?;
                // After a full batch the same chat is checked again.
                let to = if moved < batch { chat } else { before };
                (to, Step::Moved(moved))
            }
            None if finished => (START, Step::Finished),
            None => (before, Step::Checked),
        };
        set_position(&tx, to).await?;
        Ok::<_, StorageError>(step)
    });
    match (step.await, found) {
        (Err(error), Some(chat)) if error.is_damaged_data() => skip(db, from, chat, &error).await,
        (step, _) => step,
    }
}

/// Moves the position past a damaged chat.
async fn skip(db: &Db, from: Key, chat: Key, error: &StorageError) -> Result<Step, StorageError> {
    let moved = db.write(|tx| async move {
        let holds = holds_position(&tx, from).await?;
        if holds {
            set_position(&tx, chat).await?;
        }
        Ok::<_, StorageError>(holds)
    });
    if !moved.await? {
        return Ok(Step::Busy);
    }
    report_damaged(chat, error);
    Ok(Step::Skipped)
}

fn report_damaged((org, chat): Key, error: &StorageError) {
    count_skipped_row("chat");
    let (org_id, chat_id) = (OrgId::from_uuid(org), ChatId::from_uuid(chat));
    tracing::warn!(%error, org.id = %org_id, chat.id = %chat_id, "a chat is damaged and was not archived");
}

/// Whether the position is still `from`. A replica works while it holds the row; a moved position means that
/// another one did this step.
async fn holds_position(tx: &Tx, from: Key) -> Result<bool, StorageError> {
    Ok(position(tx, tx.db().is_postgres()).await? == Some(from))
}

async fn set_position(tx: &Tx, to: Key) -> Result<(), StorageError> {
    archive_position::Entity::update_many()
        .col_expr(archive_position::Column::OrgId, Expr::value(to.0))
        .col_expr(archive_position::Column::ChatId, Expr::value(to.1))
        .filter(archive_position::Column::PositionId.eq(POSITION_ID))
        .exec(tx)
        .await?;
    Ok(())
}

/// The position; `None` while another transaction holds its row.
async fn position(conn: &impl ConnectionTrait, lock: bool) -> Result<Option<Key>, StorageError> {
    let query = archive_position::Entity::find_by_id(POSITION_ID);
    let query = if lock {
        query.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
    } else {
        query
    };
    let row = query.one(conn).await?;
    Ok(row.map(|row| (row.org_id, row.chat_id)))
}

/// The next chats, each with the time of the oldest entry of its log, or the error if that cannot be read.
/// Two lookups by key for each chat.
async fn oldest_after(conn: &impl ConnectionTrait, from: Key) -> Result<Vec<(Key, Oldest)>, StorageError> {
    let select = format!(
        "SELECT c.org_id, c.chat_id, (
           SELECT e.create_time FROM entry e
           WHERE e.org_id = c.org_id AND e.chat_id = c.chat_id AND e.seq > c.archived_seq ORDER BY e.seq LIMIT 1
         ) AS oldest
         FROM chat c WHERE (c.org_id, c.chat_id) > ($1, $2) ORDER BY c.org_id, c.chat_id LIMIT {STEP_MAX_CHATS}"
    );
    let rows = conn
        .query_all_raw(sql(conn, &select, [from.0.into(), from.1.into()]))
        .await?;
    let read = |row: &QueryResult| {
        let key = (row.try_get("", "org_id")?, row.try_get("", "chat_id")?);
        Ok((key, row.try_get("", "oldest").map_err(StorageError::from)))
    };
    rows.iter()
        .map(read)
        .collect::<Result<_, DbErr>>()
        .map_err(Into::into)
}

/// Moves the oldest entries of a chat and then its `archived_seq`. Times rise with sequence numbers, so only
/// the beginning of the log is read. Only the last statement locks the row of the chat, because nobody else
/// changes old entries: senders wait for the commit and not for the copying.
async fn move_entries(
    tx: &Tx,
    (org, chat): Key,
    horizon: DateTime<Utc>,
    batch: u64,
) -> Result<u64, StorageError> {
    let after = |seq: i64| {
        Condition::all()
            .add(entry::Column::OrgId.eq(org))
            .add(entry::Column::ChatId.eq(chat))
            .add(entry::Column::Seq.gt(seq))
    };
    let found = chat::Entity::find_by_id((org, chat))
        .select_only()
        .column(chat::Column::ArchivedSeq)
        .into_tuple()
        .one(tx)
        .await?;
    let Some(border) = found else {
        return Ok(0);
    };
    let oldest: Vec<(i64, DateTime<Utc>)> = entry::Entity::find()
        .select_only()
        .columns([entry::Column::Seq, entry::Column::CreateTime])
        .filter(after(border))
        .order_by_asc(entry::Column::Seq)
        .limit(batch)
        .into_tuple()
        .all(tx)
        .await?;
    let old = oldest.iter().take_while(|(_, time)| *time < horizon);
    let (count, Some((upto, _))) = (old.clone().count() as u64, old.last()) else {
        return Ok(0);
    };
    let insert = format!(
        "INSERT INTO entry_archive ({COLUMNS}) SELECT {COLUMNS} FROM entry \
         WHERE org_id = $1 AND chat_id = $2 AND seq > $3 AND seq <= $4"
    );
    let range = [org.into(), chat.into(), border.into(), (*upto).into()];
    let copied = tx.execute_raw(sql(tx, &insert, range)).await?.rows_affected();
    let delete = entry::Entity::delete_many().filter(after(border).add(entry::Column::Seq.lte(*upto)));
    let deleted = delete.exec(tx).await?.rows_affected;
    let update = chat::Entity::update_many()
        .col_expr(chat::Column::ArchivedSeq, Expr::value(*upto))
        .filter(chat::Column::OrgId.eq(org))
        .filter(chat::Column::ChatId.eq(chat))
        .filter(chat::Column::ArchivedSeq.eq(border));
    let moved = update.exec(tx).await?.rows_affected;
    if (copied, deleted, moved) != (count, count, 1) {
        let found = format!("{count} entries, {copied} copied, {deleted} deleted, {moved} borders moved");
        return Err(StorageError::Fault(format!(
            "chat {chat} was not archived: {found}"
        )));
    }
    Ok(count)
}
