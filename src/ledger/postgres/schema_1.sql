-- Version 1 of a shared ledger. Times are Unix milliseconds but for a node's lease, which the database's own clock judges;
-- addresses of payers compare in any case.

CREATE TABLE farebox_payment (
    seq            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id             text COLLATE "C" NOT NULL UNIQUE,
    digest         bytea NOT NULL CHECK (octet_length(digest) = 32),
    state          text COLLATE "C" NOT NULL CHECK (state IN ('reserved', 'settling', 'settled', 'unknown', 'failed')),
    route          text COLLATE "C" NOT NULL,
    host           text COLLATE "C" NOT NULL,
    payer          text COLLATE "C" NOT NULL,
    network        text COLLATE "C" NOT NULL,
    asset          text COLLATE "C" NOT NULL,
    amount         numeric(78, 0) NOT NULL CHECK (amount >= 0),
    way            text COLLATE "C" NOT NULL,
    facilitator    text,
    transaction    text,
    error          text,
    valid_before   bigint,           -- Unix seconds
    reserved_at    bigint NOT NULL,
    updated_at     bigint NOT NULL,
    settled_at     bigint,
    delivered_at   bigint,
    uses           bigint NOT NULL DEFAULT 0,
    -- The node that works on it: from its reservation until it is delivered, unknown or failed; then while it is claimed.
    holder         bigint,
    -- What is sent to /settle again when an outcome is unknown. It holds a signature: it goes when the outcome is known.
    settle_request text,
    -- Who finds out what became of an unknown payment, how often it was tried, and when it is due again.
    tries          bigint NOT NULL DEFAULT 0,
    next_try_at    bigint,
    claimed_by     text,
    claimed_until  bigint,
    CHECK ((state = 'settled') = (settled_at IS NOT NULL)),
    CHECK (delivered_at IS NULL OR state = 'settled'),
    CHECK (settle_request IS NULL OR state NOT IN ('settled', 'failed'))
);

-- Newest first, of all, of one route, of one payer.
CREATE INDEX farebox_payment_newest ON farebox_payment (reserved_at, seq);
CREATE INDEX farebox_payment_of_route ON farebox_payment (route, reserved_at, seq);
CREATE INDEX farebox_payment_of_payer ON farebox_payment (lower(payer), reserved_at, seq);
-- The few among millions that settled and were delivered.
CREATE INDEX farebox_payment_open ON farebox_payment (state, updated_at)
    WHERE state IN ('reserved', 'settling', 'unknown');
CREATE INDEX farebox_payment_failed ON farebox_payment (reserved_at, seq) WHERE state = 'failed';
CREATE INDEX farebox_payment_due ON farebox_payment (next_try_at, seq) WHERE state = 'unknown';
CREATE INDEX farebox_payment_undelivered ON farebox_payment (settled_at)
    WHERE state = 'settled' AND delivered_at IS NULL;

-- How many payments have settled and failed, so that nobody has to count millions. Each session adds to one row of
-- several, so that gateways do not wait for each other.
CREATE TABLE farebox_tally (
    state    text COLLATE "C" NOT NULL,
    shard    integer NOT NULL,
    payments bigint NOT NULL,
    PRIMARY KEY (state, shard)
);

CREATE FUNCTION farebox_count() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before text := CASE WHEN TG_OP <> 'INSERT' THEN OLD.state END;
    after  text := CASE WHEN TG_OP <> 'DELETE' THEN NEW.state END;
BEGIN
    IF before IS DISTINCT FROM after THEN
        INSERT INTO farebox_tally AS tally (state, shard, payments)
        SELECT change.state, pg_backend_pid() % 16, change.payments
        FROM (VALUES (before, -1), (after, 1)) AS change (state, payments)
        WHERE change.state IN ('settled', 'failed')
        ON CONFLICT (state, shard) DO UPDATE SET payments = tally.payments + excluded.payments;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER farebox_count AFTER INSERT OR UPDATE OF state OR DELETE ON farebox_payment
FOR EACH ROW EXECUTE FUNCTION farebox_count();

-- The gateways that run. One whose lease has ended is gone, and others take over what it held.
CREATE TABLE farebox_node (
    id          bigint PRIMARY KEY,
    alive_until timestamptz NOT NULL
);

-- Keys that sign passes, the newest with the highest seq.
CREATE TABLE farebox_pass_key (
    seq    bigint PRIMARY KEY,
    id     text NOT NULL UNIQUE,
    secret bytea NOT NULL CHECK (octet_length(secret) = 32)
);
