// How long a client waits whose payment is settled while its request is forwarded: on a chain with a block each 200 ms, as long
// as the official facilitator takes to settle it, for the upstream is quicker. Both are measured in the same run.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Lab } from "../../gateway-lab.mjs";
import { startTimed } from "../../timed.mjs";
import { startFacilitator } from "../facilitator.mjs";

const BLOCK_SECONDS = 0.2;
const UPSTREAM_MS = 50;
const PAYMENTS = 15;
const SERIES_MAX = 3;
/** What the request may take of the settlement's time. */
const SHARE_MAX = 1.1;

let timed;
const lab = new Lab(
  async (options) => {
    const facilitator = await startFacilitator(options);
    timed = await startTimed(facilitator.url);
    const stop = async () => {
      timed.stop();
      await facilitator.stop();
    };
    return { url: timed.url, stop };
  },
  { blockTime: BLOCK_SECONDS, upstreamMs: UPSTREAM_MS },
);
before(() => lab.start());
after(() => lab.stop());

test("overlap: a paid request takes little longer than its settlement", async () => {
  // Until the first one is paid nobody has spoken to anybody.
  await series(1);
  // What else the machine does makes requests slower, and none quicker: the least disturbed of three counts.
  let share = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < SERIES_MAX && share > SHARE_MAX; tries += 1) {
    share = Math.min(share, await series(PAYMENTS));
  }
  assert.ok(share <= SHARE_MAX, `${share} of the settlement's time`);
});

/** Pays so many times, one after the other; what half of the requests take at most of their settlements' time. */
async function series(payments) {
  const before = timed.settled.length;
  const request = [];
  for (let count = 0; count < payments; count += 1) {
    const { status, settlement, milliseconds } = await lab.send("/overlap", "v2", await lab.signed({}));
    assert.deepEqual([status, settlement.success], [200, true]);
    request.push(milliseconds);
  }
  const settled = timed.settled.slice(before);
  assert.equal(settled.length, payments, "each is settled once");
  const shares = request.map((milliseconds, index) => milliseconds / settled[index]);
  const settlement = median(settled);
  console.error(
    `overlap, ${payments} payments, medians: request ${median(request).toFixed(1)} ms, its settlement ` +
      `${settlement.toFixed(1)} ms, of which it took ${median(shares).toFixed(3)} (${Math.min(...shares).toFixed(3)} to ` +
      `${Math.max(...shares).toFixed(3)}); upstream ${UPSTREAM_MS} ms`,
  );
  assert.ok(settlement > UPSTREAM_MS, "the upstream is the quicker one");
  return median(shares);
}

function median(values) {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)];
}
