-- Stores messages as the functions of post.sql do, but never waits for the row of a chat: a message of a chat
-- that another transaction has locked gets the refusal 0, and the writer stores it in a transaction of its
-- own with the functions of post.sql. So a chat that is locked for long delays no other chat of the batch.

-- Stores many messages. The arguments are those of `chat_post_many`.
CREATE OR REPLACE FUNCTION chat_try_many(
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
    FOR NO KEY UPDATE OF c SKIP LOCKED
  LOOP
    v_head[v_row.at] := v_row.head_seq;
    v_open[v_row.at] := v_row.open;
  END LOOP;
  IF NOT FOUND THEN
    -- Nothing is locked, so nothing is stored. Such a batch must not cost as much as one that is stored.
    RETURN QUERY
    SELECT i.place, CASE WHEN p.left_seq IS NULL AND p.member_id IS NOT NULL THEN 0::smallint
                         ELSE chat_refusal(CASE WHEN p.member_id IS NOT NULL THEN false END, NULL, NULL) END, NULL::bigint
    FROM unnest(p_at, p_sender) WITH ORDINALITY AS i(at, sender, place)
    LEFT JOIN participant p ON p.org_id = p_org[i.at] AND p.chat_id = p_chat[i.at] AND p.member_id = i.sender;
    RETURN;
  END IF;

  RETURN QUERY
  WITH checked AS MATERIALIZED (
    -- A participant of a chat that is not locked: it was locked by another transaction, or the sender joined
    -- it after the chats were locked.
    SELECT i.*, CASE WHEN p.present AND v_head[i.at] IS NULL THEN 0::smallint
                     ELSE chat_refusal(p.present, v_open[i.at], p.may_post) END AS refusal
    FROM unnest(p_at, p_sender, p_request, p_digest, p_entry, p_body, p_service) WITH ORDINALITY
      AS i(at, sender, request_id, digest, entry_id, body, service, place)
    LEFT JOIN LATERAL (
      SELECT m.may_post, m.left_seq IS NULL AS present FROM participant m
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

-- Stores one message, in fewer statements than a batch. The arguments are those of `chat_post_one`.
CREATE OR REPLACE FUNCTION chat_try_one(
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
  -- Only a sender who may write locks the row. `c` is the row as it is when it is locked, `b` the row of the
  -- snapshot with which the participant was read.
  SELECT c.head_seq + 1, c.archive_time IS NULL AND NOT c.unsupervised, c.audience_version, b.audience_version
  INTO seq, v_open, v_version, v_version_before
  FROM participant m
  JOIN chat b ON b.org_id = m.org_id AND b.chat_id = m.chat_id
  JOIN chat c ON c.org_id = m.org_id AND c.chat_id = m.chat_id
  WHERE m.org_id = p_org AND m.chat_id = p_chat AND m.member_id = p_sender
    AND m.left_seq IS NULL AND m.may_post AND b.archive_time IS NULL AND NOT b.unsupervised
  FOR NO KEY UPDATE OF c SKIP LOCKED;
  IF seq IS NULL THEN
    SELECT m.left_seq IS NULL, m.may_post, c.archive_time IS NULL AND NOT c.unsupervised
    INTO v_present, v_may, v_open
    FROM participant m JOIN chat c ON c.org_id = m.org_id AND c.chat_id = m.chat_id
    WHERE m.org_id = p_org AND m.chat_id = p_chat AND m.member_id = p_sender;
    -- A sender who may write was only kept from it by the lock.
    refusal := coalesce(chat_refusal(v_present, v_open, v_may), 0);
    RETURN;
  END IF;

  v_present := true;
  v_may := true;
  -- Participants changed between the snapshot and the lock: every change of them increments the version.
  IF v_version <> v_version_before THEN
    SELECT m.left_seq IS NULL, m.may_post INTO v_present, v_may FROM participant m
    WHERE m.org_id = p_org AND m.chat_id = p_chat AND m.member_id = p_sender;
  END IF;
  refusal := chat_refusal(v_present, v_open, v_may);
  IF refusal IS NOT NULL THEN
    seq := NULL;
    RETURN;
  END IF;

  UPDATE chat c SET head_seq = seq WHERE c.org_id = p_org AND c.chat_id = p_chat;
  INSERT INTO entry (org_id, chat_id, seq, entry_id, kind, sender, request_id, digest, body, service, create_time)
  VALUES (p_org, p_chat, seq, p_entry, 1, p_sender, p_request, p_digest, p_body, p_service, p_now);
END $$;
