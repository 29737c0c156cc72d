-- Version 1 of a ledger's file. Times are Unix milliseconds; amounts are decimal digits, for they have up to 256
-- bits; addresses of payers compare in any case.

CREATE TABLE payment (
    seq          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    digest       BLOB NOT NULL CHECK (length(digest) = 32),
    state        TEXT NOT NULL CHECK (state IN ('reserved', 'settling', 'settled', 'unknown', 'failed')),
    route        TEXT NOT NULL,
    host         TEXT NOT NULL,
    payer        TEXT NOT NULL COLLATE NOCASE,
    network      TEXT NOT NULL,
    asset        TEXT NOT NULL,
    amount       TEXT NOT NULL,
    way          TEXT NOT NULL,
    facilitator  TEXT,
    "transaction" TEXT,
    error        TEXT,
    valid_before INTEGER,            -- Unix seconds
    reserved_at  INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    settled_at   INTEGER,
    delivered_at INTEGER,
    uses         INTEGER NOT NULL DEFAULT 0,
    CHECK ((state = 'settled') = (settled_at IS NOT NULL)),
    CHECK (delivered_at IS NULL OR state = 'settled')
) STRICT;

-- Newest first, of all, of one route, of one payer.
CREATE INDEX payment_newest ON payment (reserved_at);
CREATE INDEX payment_of_route ON payment (route, reserved_at);
CREATE INDEX payment_of_payer ON payment (payer, reserved_at);
-- The few that are neither settled nor failed, and those that failed, among millions that settled. Written with OR:
-- SQLite then sees that one state implies the condition.
CREATE INDEX payment_open ON payment (state, updated_at)
    WHERE state = 'reserved' OR state = 'settling' OR state = 'unknown';
CREATE INDEX payment_failed ON payment (reserved_at) WHERE state = 'failed';

-- What is sent to /settle again when an outcome is unknown. It holds a signature: it goes when the outcome is known.
CREATE TABLE settle_request (
    payment INTEGER PRIMARY KEY REFERENCES payment (seq) ON DELETE CASCADE,
    body    TEXT NOT NULL
) STRICT;

CREATE TRIGGER outcome_known AFTER UPDATE OF state ON payment WHEN NEW.state IN ('settled', 'failed')
BEGIN
    DELETE FROM settle_request WHERE payment = NEW.seq;
END;

-- How many payments are in each state, so that nobody has to count millions. Kept by triggers: no write can forget.
CREATE TABLE tally (
    name     TEXT PRIMARY KEY,
    payments INTEGER NOT NULL CHECK (payments >= 0)
) STRICT, WITHOUT ROWID;

INSERT INTO tally (name, payments)
VALUES ('reserved', 0), ('settling', 0), ('settled', 0), ('undelivered', 0), ('unknown', 0), ('failed', 0);

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

-- Keys that sign passes, the newest with the highest seq.
CREATE TABLE pass_key (
    seq    INTEGER PRIMARY KEY,
    id     TEXT NOT NULL UNIQUE,
    secret BLOB NOT NULL CHECK (length(secret) = 32)
) STRICT;

-- Written to by a check, which proves that the file can be written to.
CREATE TABLE pulse (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    beats INTEGER NOT NULL
) STRICT;

INSERT INTO pulse (one, beats) VALUES (1, 0);
