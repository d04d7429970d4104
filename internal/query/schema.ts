// What a query sees. Tables are as compact as they come from the evidence; views show bytes as hex, as every other
// command does. Times are UTC: a TIMESTAMP without zone means the same on every machine. docs/operations.md, "Query".

export const SCHEMA = `
CREATE SCHEMA evidence;

CREATE TABLE evidence.votes (
  log_index BIGINT    NOT NULL,
  vote_id   BIGINT    NOT NULL,
  shard     INTEGER   NOT NULL,
  sequence  BIGINT    NOT NULL,
  voter     BLOB      NOT NULL,
  revision  BIGINT    NOT NULL,
  choice    BLOB      NOT NULL,
  cast_at   TIMESTAMP NOT NULL,
  hash      BLOB      NOT NULL,
  segment   VARCHAR   NOT NULL
);

CREATE TABLE evidence.checkpoints (
  number           BIGINT    NOT NULL,
  first_index      BIGINT    NOT NULL,
  tree_size        BIGINT    NOT NULL,
  tree_root        VARCHAR   NOT NULL,
  segments         INTEGER   NOT NULL,
  bytes            BIGINT    NOT NULL,
  retained_until   TIMESTAMP,
  last_vote_id     BIGINT,
  last_record_hash VARCHAR,
  note             VARCHAR   NOT NULL
);

CREATE TABLE evidence.events (
  log_index   BIGINT    NOT NULL,
  kind        VARCHAR   NOT NULL,
  happened_at TIMESTAMP NOT NULL,
  details     VARCHAR   NOT NULL,
  note        VARCHAR   NOT NULL,
  segment     VARCHAR   NOT NULL
);

CREATE VIEW votes AS
  SELECT log_index, vote_id, shard, sequence, lower(hex(voter)) AS voter, revision, choice, cast_at,
         lower(hex(hash)) AS hash, segment
  FROM evidence.votes;
CREATE VIEW checkpoints AS SELECT * FROM evidence.checkpoints;
CREATE VIEW events AS SELECT * FROM evidence.events;
`;

/**
 * Records that break the one-vote rule: of each voter, revisions are 1, 2, 3 … in log order, and under `forbidden` there
 * is one. DuckDB groups the voters on disk where a tally in memory would hold one record of each.
 */
export const RULE_BREAKERS = `
SELECT shard, sequence, revision, row_number() OVER (PARTITION BY voter ORDER BY log_index) AS expected
FROM evidence.votes SEMI JOIN (
  SELECT voter FROM evidence.votes GROUP BY voter HAVING count(*) > 1 OR max(revision) > 1
) USING (voter)
QUALIFY revision <> expected OR $1 AND expected > 1
ORDER BY shard, sequence LIMIT 1000
`;
