// A Solana ledger on loopback that says it is devnet, with devnet's USDC.

import { fileURLToPath } from "node:url";
import { startGuarded } from "../chain/guarded.mjs";

/** Its names in x402 v2 and v1. */
export const NETWORK = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
export const NETWORK_V1 = "solana-devnet";

/** Starts a ledger. What it writes goes to the file `log`, if one is named. */
export async function startSolana({ log } = {}) {
  const server = fileURLToPath(new URL("server.mjs", import.meta.url));
  const { answer, stop } = await startGuarded([process.execPath, server], {
    ready: (line) => JSON.parse(line).port,
    log,
  });
  return new Solana(`http://127.0.0.1:${answer}`, stop);
}

class Solana {
  constructor(rpc, stop) {
    /** Its JSON-RPC. */
    this.rpc = rpc;
    /** Ends it, and waits until it is gone. */
    this.stop = stop;
  }

  /**
   * A new wallet, `{address, secretKey}`, the latter 64 bytes in base58. It has an account of the token with `funds`
   * atomic units, and `lamports` for fees.
   */
  newWallet({ funds = 0n, lamports = 0n } = {}) {
    return this.call("labNewWallet", { funds: String(funds), lamports: String(lamports) });
  }

  /** What `owner` has of the token, in atomic units. */
  async balance(owner) {
    return BigInt(await this.call("labBalance", owner));
  }

  /**
   * The transactions that changed what `owner` has of the token, oldest first: `{signature, slot, err, moved}`, where
   * `moved` is every wallet whose balance has changed, and by how much.
   */
  async transfers(owner) {
    const transactions = await this.call("labTransfers", owner);
    return transactions.map(({ moved, ...transaction }) => ({
      ...transaction,
      moved: moved.map((change) => ({ ...change, amount: BigInt(change.amount) })),
    }));
  }

  /** Makes everything too old that is signed and not sent yet. */
  async expireBlockhash() {
    await this.call("labExpireBlockhash");
  }

  /** Any method of its JSON-RPC. Throws what it answers instead of a result. */
  async call(method, ...params) {
    const response = await fetch(this.rpc, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
    });
    const { result, error } = await response.json();
    if (error) throw new Error(error.message);
    return result;
  }
}
