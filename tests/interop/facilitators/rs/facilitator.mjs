// x402-rs's facilitator as a process: the binary that rs/build makes.

import { fileURLToPath } from "node:url";
import { startGuarded } from "../../chain/guarded.mjs";

const BUILT = fileURLToPath(new URL("../../../../target/interop/rs/debug/facilitator", import.meta.url));

/** Starts a facilitator that settles on the chain at `rpc` with the private key `key`, and gives its URL. */
export async function startFacilitator({ rpc, key, log }) {
  const { answer, stop } = await startGuarded([BUILT], {
    ready: (line) => JSON.parse(line).port,
    environment: { LAB_RPC: rpc, LAB_KEY: key },
    log,
  });
  return { url: `http://127.0.0.1:${answer}`, stop };
}
