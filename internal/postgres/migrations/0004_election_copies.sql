-- What an instance with shards of an election has to know for their votes to go on while the control instance is down:
-- of elections, what never changes. Whether votes are taken says shard_heads.closed, here as ever.
CREATE TABLE psephos.election_copies (
  election    integer PRIMARY KEY,
  election_id text    NOT NULL UNIQUE,
  manifest    bytea   NOT NULL,
  placement   text[]  NOT NULL,
  created_at  bigint  NOT NULL
);

GRANT SELECT, INSERT ON psephos.election_copies TO psephos_router;
