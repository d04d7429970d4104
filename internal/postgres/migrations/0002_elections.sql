-- What elections there are. Every instance has the table; the control instance alone has rows in it.
CREATE TABLE psephos.elections (
  election    integer  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  election_id text     NOT NULL UNIQUE CHECK (election_id ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  manifest    bytea    NOT NULL,
  -- The instance of each shard, in order of shard. Fixed here and not taken from the configuration each time: a vote
  -- that followed a changed placement map would begin a second chain.
  placement   text[]   NOT NULL,
  state       text     NOT NULL DEFAULT 'creating' CHECK (state IN ('creating', 'open', 'closing', 'closed')),
  created_at  bigint   NOT NULL
);

GRANT SELECT, INSERT, UPDATE (state) ON psephos.elections TO psephos_router;

CREATE TRIGGER elections_move_forward BEFORE UPDATE ON psephos.elections FOR EACH ROW
  WHEN (array_position(ARRAY['creating', 'open', 'closing', 'closed'], NEW.state)
        < array_position(ARRAY['creating', 'open', 'closing', 'closed'], OLD.state))
  EXECUTE FUNCTION psephos.refuse_change();
