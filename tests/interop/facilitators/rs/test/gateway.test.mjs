// The built gateway with x402-rs's facilitator.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Lab } from "../../gateway-lab.mjs";
import { testGateway } from "../../gateway-suite.mjs";
import { startFacilitator } from "../facilitator.mjs";

testGateway(startFacilitator);

test("a facilitator without its chain is an outage, not a refusal", async () => {
  const lab = new Lab(startFacilitator);
  try {
    await lab.start();
    const payload = await lab.signed({});
    await lab.chain.stop();
    const { status, body } = await lab.send("/on-success", "v2", payload);
    const { error, retry } = JSON.parse(body);
    assert.deepEqual([status, error, retry], [503, "facilitator_unavailable", "same_payment"]);
  } finally {
    await lab.stop();
  }
});
