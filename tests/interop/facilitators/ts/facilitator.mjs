// The official TypeScript facilitator as a process.

import { fileURLToPath } from "node:url";
import { startGuarded } from "../../chain/guarded.mjs";

/** As long as the SDK waits by itself. */
const RECEIPT_WAIT_MS = 180_000;

/**
 * Starts a facilitator that settles on the chain at `rpc` with the private key `key`, and gives its URL.
 *
 * `receiptWaitMs` is how long it waits for a transaction to be mined before it answers `settlement_pending`;
 * `factories` are those whose smart accounts it deploys.
 */
export async function startFacilitator({ rpc, key, receiptWaitMs = RECEIPT_WAIT_MS, factories = [], log }) {
  const server = fileURLToPath(new URL("server.mjs", import.meta.url));
  const { answer, stop } = await startGuarded([process.execPath, server], {
    ready: (line) => JSON.parse(line).port,
    environment: { LAB_RPC: rpc, LAB_KEY: key, LAB_RECEIPT_MS: String(receiptWaitMs), LAB_FACTORIES: factories.join() },
    log,
  });
  return { url: `http://127.0.0.1:${answer}`, stop };
}
