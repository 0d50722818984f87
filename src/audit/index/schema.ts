/** "GBxI" in the file's header, and how the tables are: another version is made anew. */
export const APPLICATION_ID = 0x47_42_78_49;
export const FORMAT = 3;

/** What a record can be found by, besides its time, its kind and its text. Numbers are written to the file: they are never given to another. */
export const FIELDS = {
  call: 1,
  session: 2,
  principal: 3,
  client: 4,
  tool: 5,
  decision: 6,
  status: 7,
  code: 8,
  exitCode: 9,
  event: 10,
  policy: 11,
  /** A policy with its layer, `organisation:rules.cedar#rest`, as people are shown it. */
  layeredPolicy: 12,
  host: 13,
  /** What a host lies in, for `*.example.org`. */
  domain: 14,
  /** Every way to name a package: with and without its version, as a purl and by name. */
  package: 15,
  /** A package without its version, once: what is counted. */
  purl: 16,
} as const;
export type Field = keyof typeof FIELDS;

export const KINDS = { intent: 0, outcome: 1, event: 2 } as const;

/**
 * An `id` is a moment: milliseconds since 1970, times 2^15, and the number of the record within its millisecond. So each list of ids is in the
 * order of time, and `newest first` reads it from its end.
 */
export const ID_BITS = 15n;
export const MAX_IN_A_MILLISECOND = 1n << ID_BITS;

const TEXT = "fts5(body, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2')";

export const TABLE_NAMES = [
  "chains",
  "words",
  "records",
  "open_calls",
  "terms",
  "ended",
  "text",
  "ended_text",
] as const;
export const TABLES = `
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${FORMAT};
  -- How far each chain is indexed; \`hash\` and what begins with \`last_\` are of the last record that is, for finding out that the log was changed
  -- below. \`segments\`: how many files there were up to \`segment\`.
  CREATE TABLE chains (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, segment INTEGER NOT NULL, offset INTEGER NOT NULL, segments INTEGER NOT NULL,
    ordinal INTEGER NOT NULL, last_segment INTEGER NOT NULL, last_offset INTEGER NOT NULL, last_length INTEGER NOT NULL, hash BLOB NOT NULL,
    records INTEGER NOT NULL, damaged INTEGER NOT NULL
  ) STRICT;
  -- \`uses\` is an estimate: by it the rarest condition of a question is asked first.
  CREATE TABLE words (id INTEGER PRIMARY KEY, field INTEGER NOT NULL, text TEXT NOT NULL, uses INTEGER NOT NULL) STRICT;
  CREATE UNIQUE INDEX words_by_text ON words (field, text);
  -- Where each record stands, and what is counted of it. \`outcome\`: of an intent, the record of how its call ended.
  -- \`ordinal\` is its \`seq\`, where the chain is whole; texts are numbers of \`words\`.
  -- \`only_counted\`: refusals before this one that have no record of their own.
  -- \`told\`: of an intent, how many terms it has by events that name its call.
  CREATE TABLE records (
    id INTEGER PRIMARY KEY, chain INTEGER NOT NULL, ordinal INTEGER NOT NULL, segment INTEGER NOT NULL, offset INTEGER NOT NULL,
    length INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL, time_ms INTEGER NOT NULL, kind INTEGER NOT NULL, outcome INTEGER,
    event INTEGER, call INTEGER, session INTEGER, principal INTEGER, client INTEGER, tool INTEGER, decision INTEGER, status INTEGER,
    code INTEGER, exit_code INTEGER, duration_ms REAL, bundle TEXT, gateway TEXT NOT NULL, only_counted INTEGER,
    told INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE UNIQUE INDEX records_by_place ON records (chain, ordinal);
  CREATE INDEX intents_by_call ON records (call, chain, ordinal) WHERE kind = ${KINDS.intent};
  CREATE INDEX records_that_count ON records (only_counted) WHERE only_counted IS NOT NULL;
  -- Intents whose outcome has not come.
  CREATE TABLE open_calls (
    chain INTEGER NOT NULL, call INTEGER NOT NULL, ordinal INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (chain, call, ordinal)
  ) STRICT, WITHOUT ROWID;
  -- Records by what they have; and intents by what their outcomes have, and the events that name their calls.
  CREATE TABLE terms (word INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (word, id)) STRICT, WITHOUT ROWID;
  CREATE TABLE ended (word INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (word, id)) STRICT, WITHOUT ROWID;
  CREATE VIRTUAL TABLE text USING ${TEXT};
  CREATE VIRTUAL TABLE ended_text USING ${TEXT};`;
