-- AuditService's one row an election: the swap of this row is the commit point of a new tree head. On the control
-- instance. AuditService's role sees no other table.
CREATE TABLE psephos.log_heads (
  election_id  text    PRIMARY KEY,
  -- 0 before the first entry.
  tree_size    bigint  NOT NULL CHECK (tree_size >= 0),
  root         bytea   NOT NULL CHECK (octet_length(root) = 32),
  -- In order of shard: u64 sequence, big-endian, and 32 bytes hash each.
  shard_heads  bytea   NOT NULL CHECK (octet_length(shard_heads) % 40 = 0),
  closed       boolean NOT NULL,
  committed_at bigint  NOT NULL
)
-- For the reasons given at shard_heads.
WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

GRANT SELECT, INSERT, UPDATE (tree_size, root, shard_heads, closed, committed_at)
  ON psephos.log_heads TO psephos_audit;

CREATE TRIGGER log_heads_move_forward BEFORE UPDATE ON psephos.log_heads FOR EACH ROW
  WHEN (NEW.tree_size <= OLD.tree_size OR OLD.closed)
  EXECUTE FUNCTION psephos.refuse_change();
