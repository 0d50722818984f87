/** What this Glovebox writes and reads. Another version of the tables would have another number. */
export const SCHEMA_VERSION = 1;

export interface SchemaNames {
  readonly schema: string;
  /** Role of gateways. */
  readonly writer: string;
  /** Role of those who ask and verify. */
  readonly reader: string;
}

/** Columns that a gateway fills; `received` and `recorded_by` are the server's own, and a gateway cannot set them. */
export const COLUMNS = {
  time: "timestamptz NOT NULL",
  chain: 'text COLLATE "C" NOT NULL',
  seq: "bigint NOT NULL",
  gateway: "text NOT NULL",
  kind: "text NOT NULL",
  event: "text",
  call_id: "text",
  session_id: "text",
  principal: "text",
  client: "text",
  tool: "text",
  decision: "text",
  status: "text",
  code: "text",
  exit_code: "integer",
  duration_ms: "double precision",
  bundle: "text",
  policies: "text[] NOT NULL",
  hosts: "text[] NOT NULL",
  packages: "text[] NOT NULL",
  calls: "text[] NOT NULL",
  words: "tsvector NOT NULL",
  hash: "text NOT NULL",
  prev: "text NOT NULL",
  line: "text NOT NULL",
  body: "jsonb",
} as const;

/**
 * Names of indexes and what they are on; the key, which begins with the time, is one more. Those with a condition leave out records that have
 * nothing there: most of them. They are few, and the lists share one, since a query without a limit in time locks each of each day.
 */
const INDEXES = {
  by_chain: "(chain, seq, time)",
  by_principal: "(principal, time) WHERE principal IS NOT NULL",
  by_session: "(session_id, time) WHERE session_id IS NOT NULL",
  by_call: "(call_id) WHERE call_id IS NOT NULL",
  by_tool: "(tool, time) WHERE tool IS NOT NULL",
  by_decision: "(decision, time) WHERE decision IS NOT NULL",
  by_event: "(event, time) WHERE event IS NOT NULL",
  by_exit_code: "(exit_code, time) WHERE exit_code IS NOT NULL",
  by_what_is_in_it: "USING gin (policies, hosts, packages, calls, words)",
} as const;

/** How long making a partition waits for readers, so that gateways never queue behind them. */
const LOCK_TIMEOUT = "2s";
/** The same for dropping them: gateways and readers wait behind it. It can be run again. */
const DROP_LOCK_TIMEOUT = "15s";
/** Days for which partitions are made, before today and after it. Records of other days have a clock that is wrong, or waited long. */
const DAYS_BACK = 400;
const DAYS_AHEAD = 8;

/**
 * The SQL that makes the store, for its owner: run again, it changes nothing. Needs PostgreSQL 14 and the rights to create a schema in the
 * database and, where the two roles are not there yet, roles.
 */
export function schemaSql({ schema, writer, reader }: SchemaNames): string {
  const columns = Object.entries(COLUMNS).map(([name, type]) => `  ${name} ${type}`);
  const filled = Object.keys(COLUMNS).join(", ");
  return `-- Glovebox's central audit store, version ${SCHEMA_VERSION}. Run it as the role that is to own it; running it again changes nothing.
BEGIN;
SELECT pg_advisory_xact_lock(hashtextextended('glovebox ${schema}', 0));

DO $$ BEGIN
  IF to_regrole('${writer}') IS NULL THEN CREATE ROLE ${writer} NOLOGIN; END IF;
  IF to_regrole('${reader}') IS NULL THEN CREATE ROLE ${reader} NOLOGIN; END IF;
END $$;

CREATE SCHEMA IF NOT EXISTS ${schema};

CREATE OR REPLACE FUNCTION ${schema}.schema_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT ${SCHEMA_VERSION}';

-- One row a record. line is the record, to the byte, and hash its hash; the other columns are made of it, for queries.
CREATE TABLE IF NOT EXISTS ${schema}.records (
${columns.join(",\n")},
  received timestamptz NOT NULL DEFAULT clock_timestamp(),
  recorded_by text NOT NULL DEFAULT session_user,
  PRIMARY KEY (time, chain, seq)
) PARTITION BY RANGE (time);
${Object.entries(INDEXES)
  .map(([name, on]) => `CREATE INDEX IF NOT EXISTS ${name} ON ${schema}.records ${on};`)
  .join("\n")}

-- Records of days for which there is no partition: there is always a place for them.
CREATE TABLE IF NOT EXISTS ${schema}.records_other PARTITION OF ${schema}.records DEFAULT;

-- How far each chain has come, moved in the transaction that adds its records; and up to where retention has dropped them.
CREATE TABLE IF NOT EXISTS ${schema}.positions (
  chain text COLLATE "C" PRIMARY KEY,
  seq bigint NOT NULL,
  hash text NOT NULL,
  dropped_seq bigint NOT NULL DEFAULT -1,
  dropped_hash text NOT NULL DEFAULT repeat('0', 64)
) WITH (fillfactor = 50);

CREATE OR REPLACE FUNCTION ${schema}.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- Others may not delete at all; the owner could as well switch this off.
  IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'records_other' AND current_setting('glovebox.retention', true) = 'on' THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'the audit store is append-only: % on % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE ON ${schema}.records
  FOR EACH ROW EXECUTE FUNCTION ${schema}.refuse_change();
CREATE OR REPLACE TRIGGER never_emptied BEFORE TRUNCATE ON ${schema}.records
  FOR EACH STATEMENT EXECUTE FUNCTION ${schema}.refuse_change();
CREATE OR REPLACE TRIGGER never_emptied BEFORE TRUNCATE ON ${schema}.records_other
  FOR EACH STATEMENT EXECUTE FUNCTION ${schema}.refuse_change();
CREATE OR REPLACE TRIGGER never_removed BEFORE DELETE OR TRUNCATE ON ${schema}.positions
  FOR EACH STATEMENT EXECUTE FUNCTION ${schema}.refuse_change();

CREATE OR REPLACE FUNCTION ${schema}.refuse_going_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.chain = OLD.chain AND NEW.dropped_seq >= OLD.dropped_seq
    AND (NEW.seq > OLD.seq OR (NEW.seq = OLD.seq AND NEW.hash = OLD.hash)) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'the position of % only goes forward', OLD.chain USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE OR REPLACE TRIGGER only_forward BEFORE UPDATE ON ${schema}.positions
  FOR EACH ROW EXECUTE FUNCTION ${schema}.refuse_going_back();

-- Makes the partition of a day (UTC); false when it can't be had now, and records of that day go to records_other. It runs with its
-- owner's rights, since gateways have none to make tables. Attached rather than created in place: readers are not held up.
CREATE OR REPLACE FUNCTION ${schema}.ensure_day(day date) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '${LOCK_TIMEOUT}' AS $$
DECLARE
  name text := 'records_' || to_char(day, 'YYYYMMDD');
BEGIN
  IF day IS NULL OR day < current_date - ${DAYS_BACK} OR day > current_date + ${DAYS_AHEAD} THEN RETURN false; END IF;
  IF to_regclass('${schema}.' || name) IS NOT NULL THEN RETURN true; END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('glovebox ${schema}', 0));
  IF to_regclass('${schema}.' || name) IS NOT NULL THEN RETURN true; END IF;
  EXECUTE format('CREATE TABLE ${schema}.%I (LIKE ${schema}.records INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)', name);
  EXECUTE format('CREATE TRIGGER never_emptied BEFORE TRUNCATE ON ${schema}.%I FOR EACH STATEMENT EXECUTE FUNCTION ${schema}.refuse_change()', name);
  EXECUTE format('ALTER TABLE ${schema}.records ATTACH PARTITION ${schema}.%I FOR VALUES FROM (%L) TO (%L)', name, day, day + 1);
  RETURN true;
EXCEPTION WHEN lock_not_available OR check_violation OR deadlock_detected THEN
  RETURN false;
END $$;

-- Retention, for the owner: drops the partitions of days before this one, and keeps how far each chain is dropped, so that what stays
-- still verifies. From records_other goes what stands behind what was dropped; and of what was received before that day, since times there
-- may be wrong, what a chain has before its first record that stays, or, where none stays, what is older. Answers the names of what it
-- dropped, or removed records from. Gateways wait for it, having locked positions first as well.
CREATE OR REPLACE FUNCTION ${schema}.drop_before(day date) RETURNS SETOF text LANGUAGE plpgsql
  SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '${DROP_LOCK_TIMEOUT}'
  SET glovebox.retention = 'on' AS $$
DECLARE
  name text;
  removed bigint;
BEGIN
  LOCK TABLE ${schema}.positions IN EXCLUSIVE MODE;
  FOR name IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = '${schema}.records'::regclass AND c.relname ~ '^records_[0-9]{8}$'
      AND c.relname < 'records_' || to_char(day, 'YYYYMMDD')
    ORDER BY c.relname
  LOOP
    EXECUTE format('UPDATE ${schema}.positions p SET dropped_seq = d.seq, dropped_hash = d.hash
      FROM (SELECT DISTINCT ON (chain) chain, seq, hash FROM ${schema}.%I ORDER BY chain, seq DESC) d
      WHERE p.chain = d.chain AND p.dropped_seq < d.seq', name);
    EXECUTE format('DROP TABLE ${schema}.%I', name);
    RETURN NEXT name;
  END LOOP;
  WITH kept AS (
    SELECT chain, (SELECT min(r.seq) FROM ${schema}.records r
      WHERE r.chain = o.chain AND r.time >= day AND r.time < current_date + ${DAYS_AHEAD + 1}) AS seq,
      (SELECT p.dropped_seq FROM ${schema}.positions p WHERE p.chain = o.chain) AS dropped
    FROM (SELECT DISTINCT chain FROM ${schema}.records_other) o
  ), gone AS (
    DELETE FROM ${schema}.records_other o USING kept k
    WHERE o.chain = k.chain AND (o.seq <= k.dropped
      OR (o.received < day AND (o.seq < k.seq OR (k.seq IS NULL AND o.time < day))))
    RETURNING o.chain, o.seq, o.hash
  ), moved AS (
    UPDATE ${schema}.positions p SET dropped_seq = d.seq, dropped_hash = d.hash
    FROM (SELECT DISTINCT ON (chain) chain, seq, hash FROM gone ORDER BY chain, seq DESC) d
    WHERE p.chain = d.chain AND p.dropped_seq < d.seq
  )
  SELECT count(*) INTO removed FROM gone;
  IF removed > 0 THEN RETURN NEXT 'records_other'; END IF;
END $$;

REVOKE ALL ON SCHEMA ${schema} FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ${schema} FROM PUBLIC;
GRANT USAGE ON SCHEMA ${schema} TO ${writer}, ${reader};
GRANT EXECUTE ON FUNCTION ${schema}.schema_version() TO ${writer}, ${reader};
-- Gateways add records, and see of what is there no more than which record has which hash.
GRANT INSERT (${filled}) ON ${schema}.records TO ${writer};
GRANT SELECT (time, chain, seq, hash) ON ${schema}.records TO ${writer};
GRANT SELECT, INSERT (chain, seq, hash), UPDATE (seq, hash) ON ${schema}.positions TO ${writer};
GRANT EXECUTE ON FUNCTION ${schema}.ensure_day(date) TO ${writer};
GRANT SELECT ON ${schema}.records, ${schema}.positions TO ${reader};
COMMIT;
`;
}
