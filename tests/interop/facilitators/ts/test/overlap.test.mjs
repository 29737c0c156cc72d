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
  const paid = [];
  // The first one is not counted: until then nobody has spoken to anybody.
  for (let count = 0; count <= PAYMENTS; count += 1) {
    const { status, settlement, milliseconds } = await lab.send("/overlap", "v2", await lab.signed({}));
    assert.deepEqual([status, settlement.success], [200, true]);
    paid.push(milliseconds);
  }
  const settled = timed.settled;
  assert.equal(settled.length, paid.length, "each is settled once");
  const shares = paid.map((milliseconds, index) => milliseconds / settled[index]).slice(1);
  const [request, settlement, share] = [paid.slice(1), settled.slice(1), shares].map(median);
  console.error(
    `overlap, ${PAYMENTS} payments, medians: request ${request.toFixed(1)} ms, its settlement ` +
      `${settlement.toFixed(1)} ms, of which it took ${share.toFixed(3)} (${Math.min(...shares).toFixed(3)} to ` +
      `${Math.max(...shares).toFixed(3)}); upstream ${UPSTREAM_MS} ms`,
  );
  assert.ok(settlement > UPSTREAM_MS, "the upstream is the quicker one");
  assert.ok(share <= SHARE_MAX, `${share} of the settlement's time`);
});

function median(values) {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)];
}
