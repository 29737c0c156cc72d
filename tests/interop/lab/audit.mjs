// What has to be true of a gateway's whole ledger when all is done.

import assert from "node:assert/strict";

/** Ends the gateway first: delivery is written after the last byte has left, and certain when the gateway has ended. */
export async function audit(gateway) {
  assert.equal(await gateway.stop(), 0, "the gateway's exit code");
  const settled = (await gateway.payments()).filter(({ state }) => state === "settled");
  assert.ok(settled.length > 0, "there are settled payments");
  const undelivered = settled.filter(({ delivered_at }) => !delivered_at).map(({ route, id }) => `${route} ${id}`);
  assert.equal(undelivered.length, 0, `settled, and not delivered: ${undelivered}`);
  // A facilitator that has settled in silence names none afterwards.
  const named = settled.map(({ transaction }) => transaction).filter(Boolean);
  assert.equal(new Set(named).size, named.length, "no transaction pays twice");
}
