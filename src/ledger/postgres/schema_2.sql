-- Version 2: which payments may be forgotten, and which an operator has decided.

ALTER TABLE farebox_payment ADD COLUMN by_operator boolean NOT NULL DEFAULT false;

-- Since when nothing can come of it any more: a failed payment since it failed, a settled one since it settled and its
-- validBefore has passed. A settled one without a validBefore never: only its row keeps it from being used again.
CREATE FUNCTION farebox_rested_at(state text, updated_at bigint, valid_before bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
    CASE
        WHEN state = 'failed' THEN updated_at
        WHEN state = 'settled' AND valid_before IS NOT NULL
            THEN greatest(updated_at, least(valid_before, 9000000000000) * 1000)
    END;

-- The oldest first, and none that has to stay.
CREATE INDEX farebox_payment_rested ON farebox_payment (farebox_rested_at(state, updated_at, valid_before), seq)
    WHERE farebox_rested_at(state, updated_at, valid_before) IS NOT NULL;
