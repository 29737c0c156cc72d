-- Version 4: ids are random, and in one index over all of them each new payment changed a page of its own, somewhere in a
-- gigabyte. They are kept era by era, of 65,536 payments each, and by their first eight bytes: what is written lies together,
-- and old eras are left alone. Who looks for a payment goes from era to era, the newest first, and compares the whole id; who
-- makes one has looked in all (the writing thread, which is one). Of two ids of one era that begin alike, for which somebody
-- would have to try 2^32 payments of his own, the second is refused.
--
-- The index over payers is gone, for the same reason: each payment paid for a question that an operator asks now and then.
--
-- SQLite cannot drop the index behind UNIQUE, so that the table is made anew; `foreign_keys` is off meanwhile.

CREATE TABLE payment_4 (
    seq           INTEGER PRIMARY KEY,
    id            TEXT NOT NULL,
    -- Both follow from the others; SQLite answers from an index alone only of columns that are written.
    era           INTEGER NOT NULL CHECK (era = seq >> 16),
    id_head       BLOB NOT NULL CHECK (id_head = unhex(substr(id, 1, 16))),
    digest        BLOB NOT NULL CHECK (length(digest) = 32),
    state         TEXT NOT NULL CHECK (state IN ('reserved', 'settling', 'settled', 'unknown', 'failed')),
    route         TEXT NOT NULL,
    host          TEXT NOT NULL,
    payer         TEXT NOT NULL COLLATE NOCASE,
    network       TEXT NOT NULL,
    asset         TEXT NOT NULL,
    amount        TEXT NOT NULL,
    way           TEXT NOT NULL,
    facilitator   TEXT,
    "transaction" TEXT,
    error         TEXT,
    valid_before  INTEGER,            -- Unix seconds
    reserved_at   INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    settled_at    INTEGER,
    delivered_at  INTEGER,
    uses          INTEGER NOT NULL DEFAULT 0,
    tries         INTEGER NOT NULL DEFAULT 0,
    next_try_at   INTEGER,
    claimed_by    TEXT,
    claimed_until INTEGER,
    by_operator   INTEGER NOT NULL DEFAULT 0 CHECK (by_operator IN (0, 1)),
    -- Since when nothing can come of it any more: a failed payment since it failed, a settled one since it settled and
    -- its validBefore has passed. A settled one without a validBefore never: only its row keeps it from being used again.
    rested_at     INTEGER GENERATED ALWAYS AS (
        CASE state
            WHEN 'failed' THEN updated_at
            WHEN 'settled' THEN max(updated_at, min(valid_before, 9000000000000) * 1000)
        END) VIRTUAL,
    CHECK ((state = 'settled') = (settled_at IS NOT NULL)),
    CHECK (delivered_at IS NULL OR state = 'settled')
) STRICT;

INSERT INTO payment_4 (
    seq, id, era, id_head, digest, state, route, host, payer, network, asset, amount, way, facilitator,
    "transaction", error,
    valid_before, reserved_at, updated_at, settled_at, delivered_at, uses, tries, next_try_at, claimed_by, claimed_until,
    by_operator)
SELECT
    seq, id, seq >> 16, unhex(substr(id, 1, 16)), digest, state, route, host, payer, network, asset, amount, way, facilitator,
    "transaction", error,
    valid_before, reserved_at, updated_at, settled_at, delivered_at, uses, tries, next_try_at, claimed_by, claimed_until,
    by_operator
FROM payment;

DROP TABLE payment;
ALTER TABLE payment_4 RENAME TO payment;

-- What goes with the table went with the old one. Where nothing is said, as it was.
CREATE UNIQUE INDEX payment_of_id ON payment (era, id_head);
CREATE INDEX payment_newest ON payment (reserved_at);
CREATE INDEX payment_of_route ON payment (route, reserved_at);
CREATE INDEX payment_open ON payment (state, updated_at)
    WHERE state = 'reserved' OR state = 'settling' OR state = 'unknown';
CREATE INDEX payment_failed ON payment (reserved_at) WHERE state = 'failed';
CREATE INDEX payment_due ON payment (next_try_at) WHERE state = 'unknown';
CREATE INDEX payment_rested ON payment (rested_at) WHERE rested_at IS NOT NULL;

CREATE TRIGGER outcome_known AFTER UPDATE OF state ON payment WHEN NEW.state IN ('settled', 'failed')
BEGIN
    DELETE FROM settle_request WHERE payment = NEW.seq;
END;

CREATE TRIGGER tally_insert AFTER INSERT ON payment
BEGIN
    UPDATE tally SET payments = payments + 1 WHERE name = NEW.state;
    UPDATE tally SET payments = payments + 1
    WHERE name = 'undelivered' AND NEW.state = 'settled' AND NEW.delivered_at IS NULL;
END;

CREATE TRIGGER tally_update AFTER UPDATE OF state, delivered_at ON payment
BEGIN
    UPDATE tally SET payments = payments + (name = NEW.state) - (name = OLD.state)
    WHERE OLD.state <> NEW.state AND name IN (OLD.state, NEW.state);
    UPDATE tally SET payments = payments
        + (NEW.state = 'settled' AND NEW.delivered_at IS NULL)
        - (OLD.state = 'settled' AND OLD.delivered_at IS NULL)
    WHERE name = 'undelivered';
END;

CREATE TRIGGER tally_delete AFTER DELETE ON payment
BEGIN
    UPDATE tally SET payments = payments - 1 WHERE name = OLD.state;
    UPDATE tally SET payments = payments - 1
    WHERE name = 'undelivered' AND OLD.state = 'settled' AND OLD.delivered_at IS NULL;
END;
