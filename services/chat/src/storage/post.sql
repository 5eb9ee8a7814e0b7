-- Stores a batch of messages in one round trip. Lock and insert are two statements of a VOLATILE function, so that under
-- READ COMMITTED the second sees what was committed while the first waited: a removal among it.
CREATE FUNCTION chat_post(
  p_org uuid[], p_chat uuid[], p_sender uuid[], p_request uuid[], p_digest bytea[], p_entry uuid[],
  p_body text[], p_service text[], p_now timestamptz
) RETURNS TABLE (input_id uuid, verdict smallint, seq bigint, entry_id uuid, create_time timestamptz)
LANGUAGE plpgsql VOLATILE
-- A plan made while the tables were small must not scan them once they are large.
SET enable_seqscan = off
-- Planned once for each connection: planning all partitions for each batch costs more than running it does.
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
  PERFORM 1
  FROM (SELECT DISTINCT u.org_id, u.chat_id FROM unnest(p_org, p_chat) AS u(org_id, chat_id)) i
  JOIN chat c ON c.org_id = i.org_id AND c.chat_id = i.chat_id
  ORDER BY c.org_id, c.chat_id
  FOR NO KEY UPDATE OF c;

  RETURN QUERY
  WITH judged AS MATERIALIZED (
    SELECT i.*, s.seq AS stored_seq, s.entry_id AS stored_id, s.create_time AS stored_time,
      -- Repetitions are answered first, whatever has happened since: 0 stored, 5 stored with another content.
      CASE WHEN s.seq IS NOT NULL THEN CASE WHEN s.digest = i.digest THEN 0 ELSE 5 END
           WHEN p.may_post IS NULL THEN 2
           WHEN p.archive_time IS NOT NULL THEN 4
           WHEN NOT p.may_post THEN 3
           ELSE 1 END AS verdict
    FROM unnest(p_org, p_chat, p_sender, p_request, p_digest, p_entry, p_body, p_service) WITH ORDINALITY
      AS i(org_id, chat_id, sender, request_id, digest, input_id, body, service, place)
    LEFT JOIN LATERAL (
      SELECT e.seq, e.entry_id, e.create_time, e.digest FROM entry e
      WHERE e.org_id = i.org_id AND e.chat_id = i.chat_id AND e.sender = i.sender AND e.request_id = i.request_id
      LIMIT 1
    ) s ON true
    LEFT JOIN LATERAL (
      SELECT m.may_post, c.archive_time FROM participant m
      JOIN chat c ON c.org_id = m.org_id AND c.chat_id = m.chat_id
      WHERE m.org_id = i.org_id AND m.chat_id = i.chat_id AND m.member_id = i.sender AND m.left_seq IS NULL
      LIMIT 1
    ) p ON true
  ), fresh AS MATERIALIZED (
    SELECT j.*, row_number() OVER (PARTITION BY j.org_id, j.chat_id ORDER BY j.place) AS nth
    FROM judged j WHERE j.verdict = 1
  ), bumped AS (
    UPDATE chat c SET head_seq = c.head_seq + n.count
    FROM (SELECT f.org_id, f.chat_id, count(*) AS count FROM fresh f GROUP BY f.org_id, f.chat_id) n
    WHERE c.org_id = n.org_id AND c.chat_id = n.chat_id
    RETURNING c.org_id, c.chat_id, c.head_seq - n.count AS base
  ), inserted AS (
    INSERT INTO entry (org_id, chat_id, seq, entry_id, kind, sender, request_id, digest, body, service, create_time)
    SELECT f.org_id, f.chat_id, b.base + f.nth, f.input_id, 1, f.sender, f.request_id, f.digest, f.body, f.service, p_now
    FROM fresh f JOIN bumped b ON b.org_id = f.org_id AND b.chat_id = f.chat_id
    RETURNING entry_id, seq
  )
  SELECT n.entry_id, 1::smallint, n.seq, n.entry_id, p_now FROM inserted n
  UNION ALL
  SELECT j.input_id, j.verdict::smallint, j.stored_seq, j.stored_id, j.stored_time FROM judged j WHERE j.verdict <> 1;
END $$
