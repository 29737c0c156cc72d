// The official facilitator for Solana as a process.

import { fileURLToPath } from "node:url";
import { startGuarded } from "../../chain/guarded.mjs";

/**
 * Starts a facilitator that settles on the ledger at `rpc`, and gives its URL. `key` is the secret key, 64 bytes in
 * base58, of a wallet that has lamports: it pays the fees, and is the `feePayer` of its `/supported`.
 */
export async function startFacilitator({ rpc, key, log }) {
  const server = fileURLToPath(new URL("server.mjs", import.meta.url));
  const { answer, stop } = await startGuarded([process.execPath, server], {
    ready: (line) => JSON.parse(line).port,
    environment: { LAB_RPC: rpc, LAB_KEY: key },
    log,
  });
  return { url: `http://127.0.0.1:${answer}`, stop };
}
