-- Votes and chain heads. Every instance has these tables; which shards live here says elections.placement on the
-- control instance. docs/spec.md, "Record".

GRANT USAGE ON SCHEMA psephos TO psephos_router, psephos_audit;
GRANT SELECT ON psephos.migrations TO psephos_router, psephos_audit;

-- One row a vote, never changed: the role that writes it can neither UPDATE nor DELETE. Wide columns come first, so
-- that alignment pads nothing.
CREATE TABLE psephos.records (
  sequence        bigint   NOT NULL CHECK (sequence >= 1),
  cast_at         bigint   NOT NULL CHECK (cast_at >= 0),
  -- elections.election on the control instance: 4 bytes in two indexes instead of a name of up to 63.
  election        integer  NOT NULL,
  revision        integer  NOT NULL CHECK (revision >= 1),
  shard           smallint NOT NULL,
  voter_pseudonym bytea    NOT NULL CHECK (octet_length(voter_pseudonym) = 32),
  request_token   bytea    NOT NULL CHECK (octet_length(request_token) = 16),
  sealed_choice   bytea    NOT NULL CHECK (octet_length(sealed_choice) = 63),
  record_hash     bytea    NOT NULL CHECK (octet_length(record_hash) = 32),
  CONSTRAINT records_chain PRIMARY KEY (election, shard, sequence),
  -- The last guard of the one-vote rule: whatever the router decides, nobody has a revision twice.
  CONSTRAINT records_voter UNIQUE (election, shard, voter_pseudonym, revision)
)
-- Rows are only added, so nothing is ever dead and vacuum has only to freeze: rather often in small steps than, at
-- 200 million transactions, over the whole table at once.
WITH (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000);

GRANT SELECT, INSERT ON psephos.records TO psephos_router;

-- Where each chain stands. A row's lock is what orders the appends of a shard and what closing it waits for.
--
-- Every group commit updates up to one row a shard, tens of times a second. No changed column is indexed and a page is
-- filled to a tenth only, so the new version of a row finds room beside the old one (HOT): no index entry is written,
-- and the next reader of the page prunes what is dead without waiting for vacuum. Vacuum is needed when a long
-- transaction elsewhere, a dump, has held versions back until they spilled over many pages: then it must come soon
-- and must not pause.
CREATE TABLE psephos.shard_heads (
  election        integer  NOT NULL,
  shard           smallint NOT NULL CHECK (shard BETWEEN 0 AND 255),
  sequence        bigint   NOT NULL DEFAULT 0,
  hash            bytea    NOT NULL CHECK (octet_length(hash) = 32),
  cast_at         bigint   NOT NULL DEFAULT 0,
  closed          boolean  NOT NULL DEFAULT false,
  -- A confirmation beyond the chain's end means that this database has lost votes.
  sealed_sequence bigint   NOT NULL DEFAULT 0 CHECK (sealed_sequence BETWEEN 0 AND sequence),
  -- Ties the row to a manifest, which the number in election does not: an instance of another deployment is noticed.
  genesis         bytea    NOT NULL CHECK (octet_length(genesis) = 32),
  CONSTRAINT shard_heads_key PRIMARY KEY (election, shard)
)
WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
      autovacuum_vacuum_cost_delay = 0);

GRANT SELECT, INSERT, UPDATE (sequence, hash, cast_at, closed, sealed_sequence)
  ON psephos.shard_heads TO psephos_router;

-- What no statement of any service may do, however wrong its code. The condition stands in the triggers, so that the
-- function is called only to refuse.
CREATE FUNCTION psephos.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% only moves forward', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER shard_heads_move_forward BEFORE UPDATE ON psephos.shard_heads FOR EACH ROW
  WHEN (NEW.sequence < OLD.sequence OR NEW.cast_at < OLD.cast_at OR NEW.sealed_sequence < OLD.sealed_sequence
        OR (OLD.closed AND (NOT NEW.closed OR NEW.sequence <> OLD.sequence OR NEW.hash <> OLD.hash)))
  EXECUTE FUNCTION psephos.refuse_change();
