-- Version 3: which payments may be forgotten, and which an operator has decided.

ALTER TABLE payment ADD COLUMN by_operator INTEGER NOT NULL DEFAULT 0 CHECK (by_operator IN (0, 1));

-- Since when nothing can come of it any more: a failed payment since it failed, a settled one since it settled and its
-- validBefore has passed. A settled one without a validBefore never: only its row keeps it from being used again.
ALTER TABLE payment ADD COLUMN rested_at INTEGER GENERATED ALWAYS AS (
    CASE state
        WHEN 'failed' THEN updated_at
        WHEN 'settled' THEN max(updated_at, min(valid_before, 9000000000000) * 1000)
    END) VIRTUAL;

-- The oldest first, and none that has to stay.
CREATE INDEX payment_rested ON payment (rested_at) WHERE rested_at IS NOT NULL;
