-- Stores messages in one round trip. A statement that waits for the lock on the row of a chat keeps its
-- snapshot from before the wait, which does not contain a removal that was committed meanwhile. Therefore the
-- right to write is checked again with the row locked. Neither function searches for repetitions: the unique
-- constraint `entry_once` rejects them, and the writer then reads the stored entries. A rejected message
-- locks no row, writes nothing and flushes nothing.

-- Returns why a sender may not write in a chat, or NULL if the sender may. `p_present` is NULL if the sender
-- never participated. This is the only place of the database that decides it: the numbers and their order are
-- those of `Refused` and `verdict` in messages/policy.rs, and a test compares them. PostgreSQL inlines an
-- immutable function of one expression.
CREATE OR REPLACE FUNCTION chat_refusal(p_present boolean, p_open boolean, p_may_post boolean) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
  SELECT CASE WHEN p_present IS NULL THEN 1
              WHEN NOT p_present THEN 2
              WHEN p_open IS NOT TRUE THEN 3
              WHEN p_may_post IS NOT TRUE THEN 4
         END::smallint
$$;

-- Stores many messages. `p_chat` contains each chat once, and `p_at` the index of the chat of each message.
-- `place` is the position of a message in the arrays.
CREATE OR REPLACE FUNCTION chat_post_many(
  p_org uuid[], p_chat uuid[], p_at int[], p_sender uuid[], p_request uuid[], p_digest bytea[], p_entry uuid[],
  p_body text[], p_service text[], p_now timestamptz
) RETURNS TABLE (place bigint, refusal smallint, seq bigint)
LANGUAGE plpgsql VOLATILE
-- A plan that was made while the tables were small must not scan them when they are large.
SET enable_seqscan = off
-- Planned once per connection: planning all partitions for every batch costs more than executing it.
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
  v_head bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(p_chat)]);
  v_open boolean[] := array_fill(NULL::boolean, ARRAY[cardinality(p_chat)]);
  v_row record;
BEGIN
  -- Every transaction that locks several chats locks them in the order of their keys.
  FOR v_row IN
    SELECT k.at, c.head_seq, c.archive_time IS NULL AND NOT c.unsupervised AS open
    FROM (
      SELECT DISTINCT p_org[i.at] AS org_id, p_chat[i.at] AS chat_id, i.at
      FROM unnest(p_at, p_sender) AS i(at, sender)
      JOIN LATERAL (
        SELECT 1 FROM participant m
        WHERE m.org_id = p_org[i.at] AND m.chat_id = p_chat[i.at] AND m.member_id = i.sender AND m.left_seq IS NULL
        LIMIT 1
      ) participation ON true
    ) k
    JOIN chat c ON c.org_id = k.org_id AND c.chat_id = k.chat_id
    ORDER BY c.org_id, c.chat_id
    FOR NO KEY UPDATE OF c
  LOOP
    v_head[v_row.at] := v_row.head_seq;
    v_open[v_row.at] := v_row.open;
  END LOOP;
  IF NOT FOUND THEN
    -- No sender participates in any of the chats. Such a batch must not cost as much as one that is stored.
    RETURN QUERY
    SELECT i.place, chat_refusal(CASE WHEN p.member_id IS NOT NULL THEN false END, NULL, NULL), NULL::bigint
    FROM unnest(p_at, p_sender) WITH ORDINALITY AS i(at, sender, place)
    LEFT JOIN participant p ON p.org_id = p_org[i.at] AND p.chat_id = p_chat[i.at] AND p.member_id = i.sender;
    RETURN;
  END IF;

  RETURN QUERY
  WITH checked AS MATERIALIZED (
    SELECT i.*, chat_refusal(p.present, v_open[i.at], p.may_post) AS refusal
    FROM unnest(p_at, p_sender, p_request, p_digest, p_entry, p_body, p_service) WITH ORDINALITY
      AS i(at, sender, request_id, digest, entry_id, body, service, place)
    LEFT JOIN LATERAL (
      -- A sender who joined after the chats were locked does not participate yet.
      SELECT m.may_post, m.left_seq IS NULL AND v_head[i.at] IS NOT NULL AS present FROM participant m
      WHERE m.org_id = p_org[i.at] AND m.chat_id = p_chat[i.at] AND m.member_id = i.sender
      LIMIT 1
    ) p ON true
  ), accepted AS MATERIALIZED (
    SELECT c.*, v_head[c.at] + row_number() OVER (PARTITION BY c.at ORDER BY c.place) AS seq
    FROM checked c WHERE c.refusal IS NULL
  ), updated_chats AS (
    UPDATE chat c SET head_seq = n.seq
    FROM (SELECT a.at, max(a.seq) AS seq FROM accepted a GROUP BY a.at) n
    WHERE c.org_id = p_org[n.at] AND c.chat_id = p_chat[n.at]
  ), inserted_entries AS (
    INSERT INTO entry (org_id, chat_id, seq, entry_id, kind, sender, request_id, digest, body, service, create_time)
    SELECT p_org[a.at], p_chat[a.at], a.seq, a.entry_id, 1, a.sender, a.request_id, a.digest, a.body, a.service, p_now
    FROM accepted a
  )
  SELECT a.place, NULL::smallint, a.seq FROM accepted a
  UNION ALL
  SELECT c.place, c.refusal, NULL FROM checked c WHERE c.refusal IS NOT NULL;
END $$;

-- Stores one message, in fewer statements than a batch.
CREATE OR REPLACE FUNCTION chat_post_one(
  p_org uuid, p_chat uuid, p_sender uuid, p_request uuid, p_digest bytea, p_entry uuid, p_body text, p_service text,
  p_now timestamptz, OUT refusal smallint, OUT seq bigint
)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
  v_present boolean;
  v_may boolean;
  v_open boolean;
  v_version_before bigint;
  v_version bigint;
BEGIN
  SELECT m.left_seq IS NULL, m.may_post, c.archive_time IS NULL AND NOT c.unsupervised, c.audience_version
  INTO v_present, v_may, v_open, v_version_before
  FROM participant m JOIN chat c ON c.org_id = m.org_id AND c.chat_id = m.chat_id
  WHERE m.org_id = p_org AND m.chat_id = p_chat AND m.member_id = p_sender;
  refusal := chat_refusal(v_present, v_open, v_may);
  IF refusal IS NOT NULL THEN
    RETURN;
  END IF;

  UPDATE chat c SET head_seq = c.head_seq + 1
  WHERE c.org_id = p_org AND c.chat_id = p_chat AND c.archive_time IS NULL AND NOT c.unsupervised
  RETURNING c.head_seq, c.audience_version INTO seq, v_version;
  IF seq IS NULL THEN
    -- Archived, or left without an adult, during the wait for the lock.
    refusal := chat_refusal(v_present, false, v_may);
    RETURN;
  END IF;

  -- Participants changed during the wait for the lock: every change of participants increments the version.
  IF v_version <> v_version_before THEN
    SELECT m.left_seq IS NULL, m.may_post INTO v_present, v_may FROM participant m
    WHERE m.org_id = p_org AND m.chat_id = p_chat AND m.member_id = p_sender;
    refusal := chat_refusal(v_present, true, v_may);
    IF refusal IS NOT NULL THEN
      -- The row is still locked, so nobody has read the sequence number.
      UPDATE chat c SET head_seq = c.head_seq - 1 WHERE c.org_id = p_org AND c.chat_id = p_chat;
      seq := NULL;
      RETURN;
    END IF;
  END IF;

  INSERT INTO entry (org_id, chat_id, seq, entry_id, kind, sender, request_id, digest, body, service, create_time)
  VALUES (p_org, p_chat, seq, p_entry, 1, p_sender, p_request, p_digest, p_body, p_service, p_now);
END $$;
