// What a client makes of a settlement that has failed.

import assert from "node:assert/strict";

/**
 * The reason that a client finds in an answer, in the settlement that its SDK's own function has read. Where that
 * function is known to fail at every such settlement, it is the one in the body.
 */
export function reasonOf({ unreadable }, { settlement, body }) {
  assert.ok(settlement, "the client finds a settlement");
  if (unreadable) {
    assert.match(settlement.unreadable, unreadable);
    return JSON.parse(body).error;
  }
  assert.equal(settlement.success, false);
  return settlement.errorReason;
}
