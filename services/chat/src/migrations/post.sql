-- Stores messages in one round trip. A send that waits for a chat's head still has the snapshot from before the wait, in
-- which a removal that committed meanwhile has not happened; so who may write is judged again once the head is locked.
-- Neither function looks for repetitions: the key `entry_once` refuses them, and the writer then asks what is stored.
-- What is refused locks nothing, writes nothing and flushes nothing.
--
-- Verdicts: 1 stored, 2 not in the chat any more, 3 reads only, 4 the chat is read-only, 5 never was in the chat, so that
-- no repetition has to be looked for.

-- Many messages. `p_chat` names each chat once, and `p_at` says for each message which of them it is for.
CREATE OR REPLACE FUNCTION chat_post_many(
  p_org uuid[], p_chat uuid[], p_at int[], p_sender uuid[], p_request uuid[], p_digest bytea[], p_entry uuid[],
  p_body text[], p_service text[], p_now timestamptz
) RETURNS TABLE (place bigint, verdict smallint, seq bigint)
LANGUAGE plpgsql VOLATILE
-- A plan made while the tables were small must not scan them once they are large.
SET enable_seqscan = off
-- Planned once for each connection: planning all partitions for each batch costs more than running it does.
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
  v_head bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(p_chat)]);
  v_open boolean[] := array_fill(NULL::boolean, ARRAY[cardinality(p_chat)]);
  v_row record;
BEGIN
  -- In the order of their keys, as everybody locks several of them.
  FOR v_row IN
    SELECT k.at, c.head_seq, c.archive_time IS NULL AS open
    FROM (
      SELECT DISTINCT p_org[i.at] AS org_id, p_chat[i.at] AS chat_id, i.at
      FROM unnest(p_at, p_sender) AS i(at, sender)
      JOIN LATERAL (
        SELECT 1 FROM participant m
        WHERE m.org_id = p_org[i.at] AND m.chat_id = p_chat[i.at] AND m.member_id = i.sender AND m.left_seq IS NULL
        LIMIT 1
      ) seat ON true
    ) k
    JOIN chat c ON c.org_id = k.org_id AND c.chat_id = k.chat_id
    ORDER BY c.org_id, c.chat_id
    FOR NO KEY UPDATE OF c
  LOOP
    v_head[v_row.at] := v_row.head_seq;
    v_open[v_row.at] := v_row.open;
  END LOOP;
  IF NOT FOUND THEN
    -- Nobody of them is in any of the chats: a batch of outsiders is not to cost what storing one does.
    RETURN QUERY
    SELECT i.place, CASE WHEN p.member_id IS NULL THEN 5 ELSE 2 END::smallint, NULL::bigint
    FROM unnest(p_at, p_sender) WITH ORDINALITY AS i(at, sender, place)
    LEFT JOIN participant p ON p.org_id = p_org[i.at] AND p.chat_id = p_chat[i.at] AND p.member_id = i.sender;
    RETURN;
  END IF;

  RETURN QUERY
  WITH judged AS MATERIALIZED (
    SELECT i.*,
      CASE WHEN p.present IS NULL THEN 5
           WHEN v_head[i.at] IS NULL OR NOT p.present THEN 2
           WHEN NOT v_open[i.at] THEN 4
           WHEN NOT p.may_post THEN 3
           ELSE 1 END AS verdict
    FROM unnest(p_at, p_sender, p_request, p_digest, p_entry, p_body, p_service) WITH ORDINALITY
      AS i(at, sender, request_id, digest, entry_id, body, service, place)
    LEFT JOIN LATERAL (
      SELECT m.may_post, m.left_seq IS NULL AS present FROM participant m
      WHERE m.org_id = p_org[i.at] AND m.chat_id = p_chat[i.at] AND m.member_id = i.sender
      LIMIT 1
    ) p ON true
  ), fresh AS MATERIALIZED (
    SELECT j.*, v_head[j.at] + row_number() OVER (PARTITION BY j.at ORDER BY j.place) AS seq
    FROM judged j WHERE j.verdict = 1
  ), grown AS (
    UPDATE chat c SET head_seq = n.seq
    FROM (SELECT f.at, max(f.seq) AS seq FROM fresh f GROUP BY f.at) n
    WHERE c.org_id = p_org[n.at] AND c.chat_id = p_chat[n.at]
  ), written AS (
    INSERT INTO entry (org_id, chat_id, seq, entry_id, kind, sender, request_id, digest, body, service, create_time)
    SELECT p_org[f.at], p_chat[f.at], f.seq, f.entry_id, 1, f.sender, f.request_id, f.digest, f.body, f.service, p_now
    FROM fresh f
  )
  SELECT f.place, 1::smallint, f.seq FROM fresh f
  UNION ALL
  SELECT j.place, j.verdict::smallint, NULL FROM judged j WHERE j.verdict <> 1;
END $$;

-- One message: what a lone sender pays is this and its commit.
CREATE OR REPLACE FUNCTION chat_post_one(
  p_org uuid, p_chat uuid, p_sender uuid, p_request uuid, p_digest bytea, p_entry uuid, p_body text, p_service text,
  p_now timestamptz, OUT verdict smallint, OUT seq bigint
)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
  v_may boolean;
  v_present boolean;
  v_open boolean;
  v_seen bigint;
  v_version bigint;
BEGIN
  SELECT m.may_post, m.left_seq IS NULL, c.archive_time IS NULL, c.audience_version
  INTO v_may, v_present, v_open, v_seen
  FROM participant m JOIN chat c ON c.org_id = m.org_id AND c.chat_id = m.chat_id
  WHERE m.org_id = p_org AND m.chat_id = p_chat AND m.member_id = p_sender;
  verdict := CASE WHEN v_present IS NULL THEN 5 WHEN NOT v_present THEN 2 WHEN NOT v_open THEN 4
                  WHEN NOT v_may THEN 3 ELSE 1 END;
  IF verdict <> 1 THEN
    RETURN;
  END IF;

  UPDATE chat c SET head_seq = c.head_seq + 1
  WHERE c.org_id = p_org AND c.chat_id = p_chat AND c.archive_time IS NULL
  RETURNING c.head_seq, c.audience_version INTO seq, v_version;
  IF seq IS NULL THEN
    verdict := 4;
    RETURN;
  END IF;

  -- Somebody came or went while this one waited: every change of participants raises the version.
  IF v_version <> v_seen THEN
    v_may := NULL;
    SELECT m.may_post INTO v_may FROM participant m
    WHERE m.org_id = p_org AND m.chat_id = p_chat AND m.member_id = p_sender AND m.left_seq IS NULL;
    verdict := CASE WHEN v_may IS NULL THEN 2 WHEN NOT v_may THEN 3 ELSE 1 END;
    IF verdict <> 1 THEN
      -- Nobody has seen the place: the head is locked.
      UPDATE chat c SET head_seq = c.head_seq - 1 WHERE c.org_id = p_org AND c.chat_id = p_chat;
      seq := NULL;
      RETURN;
    END IF;
  END IF;

  INSERT INTO entry (org_id, chat_id, seq, entry_id, kind, sender, request_id, digest, body, service, create_time)
  VALUES (p_org, p_chat, seq, p_entry, 1, p_sender, p_request, p_digest, p_body, p_service, p_now);
END $$;
