-- Version 5: no write of a payment's life makes a table of its own. SQLite makes one for a list behind IN: with pages of its
-- own, which it gives back after the statement.

-- Two states, two rows, each by its key.
DROP TRIGGER tally_update;

CREATE TRIGGER tally_state AFTER UPDATE OF state ON payment WHEN OLD.state <> NEW.state
BEGIN
    UPDATE tally SET payments = payments - 1 WHERE name = OLD.state;
    UPDATE tally SET payments = payments + 1 WHERE name = NEW.state;
END;

CREATE TRIGGER tally_undelivered AFTER UPDATE OF state, delivered_at ON payment
WHEN (OLD.state = 'settled' AND OLD.delivered_at IS NULL) <> (NEW.state = 'settled' AND NEW.delivered_at IS NULL)
BEGIN
    UPDATE tally SET payments = payments
        + (NEW.state = 'settled' AND NEW.delivered_at IS NULL)
        - (OLD.state = 'settled' AND OLD.delivered_at IS NULL)
    WHERE name = 'undelivered';
END;

-- The same condition in other words: no row has to be written for it (https://sqlite.org/lang_altertable.html, section 7).
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(
    sql,
    'state IN (''reserved'', ''settling'', ''settled'', ''unknown'', ''failed'')',
    'state = ''reserved'' OR state = ''settling'' OR state = ''settled'' OR state = ''unknown'' OR state = ''failed''')
WHERE type = 'table' AND name = 'payment';
PRAGMA writable_schema = RESET;
