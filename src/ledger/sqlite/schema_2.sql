-- Version 2: who finds out what became of unknown payments, and when.

ALTER TABLE payment ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE payment ADD COLUMN next_try_at INTEGER;
ALTER TABLE payment ADD COLUMN claimed_by TEXT;
ALTER TABLE payment ADD COLUMN claimed_until INTEGER;

-- What version 1 left unknown is due at once.
UPDATE payment SET next_try_at = updated_at WHERE state = 'unknown';

-- The longest due first, among millions that are settled.
CREATE INDEX payment_due ON payment (next_try_at) WHERE state = 'unknown';
