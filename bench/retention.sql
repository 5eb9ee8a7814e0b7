-- Compares two ways to remove old events: the purge of libs/feed/src/purge.rs, which deletes 5,000 rows in
-- a transaction, and the removal of weekly partitions. Half of 2,000,000 events of 1,000 organizations are
-- older than the retention.
--
--   createdb retention && psql -X -f bench/retention.sql retention && dropdb retention
\set ON_ERROR_STOP on
\set events 2000000
\set organizations 1000
\pset footer off
SET synchronous_commit = on;

CREATE TABLE organization AS SELECT gen_random_uuid() AS org_id, n FROM generate_series(0, :organizations - 1) n;
-- The events are spread over all organizations in turns, and so are the old ones.
CREATE TABLE source AS
  SELECT o.org_id, e.number / :organizations + 1 AS position, gen_random_uuid() AS event_id, gen_random_uuid() AS previous_id,
    now() - interval '60 days' + e.number * interval '60 days' / :events AS occur_time,
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa01190217-01'::varchar AS trace_parent,
    decode(repeat('5a', 120), 'hex') AS payload
  FROM generate_series(0, :events - 1) e (number) JOIN organization o ON o.n = e.number % :organizations;

CREATE TABLE event (org_id uuid NOT NULL, position bigint NOT NULL, event_id uuid NOT NULL, previous_id uuid NOT NULL,
  occur_time timestamptz NOT NULL, trace_parent varchar NOT NULL, payload bytea NOT NULL, PRIMARY KEY (org_id, position));
CREATE INDEX event_by_time ON event (occur_time);
INSERT INTO event SELECT * FROM source ORDER BY occur_time;

-- A unique key of a partitioned table has to contain the column by which it is divided.
CREATE TABLE parted (LIKE event INCLUDING DEFAULTS, PRIMARY KEY (org_id, position, occur_time)) PARTITION BY RANGE (occur_time);
SELECT format('CREATE TABLE parted_%s PARTITION OF parted FOR VALUES FROM (%L) TO (%L)', w,
  date_trunc('day', now()) - interval '63 days' + w * interval '7 days',
  date_trunc('day', now()) - interval '56 days' + w * interval '7 days') FROM generate_series(0, 10) w \gexec
INSERT INTO parted SELECT * FROM source ORDER BY occur_time;
DROP TABLE source;
VACUUM ANALYZE event;
VACUUM ANALYZE parted;
CHECKPOINT;
SELECT now() - interval '30 days' AS before, pg_size_pretty(pg_total_relation_size('event')) AS size_of_event,
  pg_current_wal_lsn() AS wal \gset
\echo size of event: :size_of_event

CREATE TABLE run (what text, n bigint, millis double precision);
CREATE PROCEDURE purge(before timestamptz) LANGUAGE plpgsql AS $$
DECLARE began timestamptz; org record; n bigint; deleted bigint; of_round bigint;
BEGIN
  LOOP
    of_round := 0;
    deleted := 0;
    began := clock_timestamp();
    -- WITH HOLD: the cursor of the loop outlives the commits.
    FOR org IN SELECT old.org_id, count(*) AS old FROM (SELECT org_id FROM event WHERE occur_time < before
      ORDER BY occur_time LIMIT 200000) old GROUP BY old.org_id ORDER BY old.org_id
    LOOP
      WITH oldest AS (SELECT position, occur_time FROM event WHERE org_id = org.org_id ORDER BY position LIMIT org.old)
        DELETE FROM event WHERE org_id = org.org_id AND position < COALESCE(
          (SELECT MIN(position) FROM oldest WHERE occur_time >= before), (SELECT MAX(position) + 1 FROM oldest));
      GET DIAGNOSTICS n = ROW_COUNT;
      deleted := deleted + n;
      of_round := of_round + n;
      IF deleted >= 5000 THEN
        COMMIT;
        INSERT INTO run VALUES ('purge', deleted, extract(epoch FROM clock_timestamp() - began) * 1000);
        began := clock_timestamp();
        deleted := 0;
      END IF;
    END LOOP;
    COMMIT;
    EXIT WHEN of_round = 0;
  END LOOP;
END $$;
CALL purge(:'before');
SELECT count(*) AS transactions, sum(n) AS deleted, round(sum(millis)) AS millis_total,
  round(sum(n) / sum(millis) * 1000) AS per_second, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY millis)) AS millis_median,
  round(max(millis)) AS millis_longest, pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), :'wal')) AS wal
  FROM run WHERE what = 'purge';

\echo vacuum of the deleted rows:
\timing on
VACUUM event;
\timing off

\echo four partitions of a week:
\timing on
SELECT format('ALTER TABLE parted DETACH PARTITION parted_%s CONCURRENTLY', w) FROM generate_series(0, 3) w \gexec
SELECT format('DROP TABLE parted_%s', w) FROM generate_series(0, 3) w \gexec
\timing off
