// The ledger behind Solana's JSON-RPC, as far as wallets and facilitators of x402 ask for it, and behind a few methods
// of the lab's own. Its first line of output is {"port": …}; SIGTERM ends it. Every transaction is final at once.

import { getBase64Decoder } from "@solana/kit";
import { serveJson } from "../chain/service.mjs";
import { BadSignature, DECIMALS, Ledger } from "./ledger.mjs";

// JSON-RPC's errors, and Solana's.
const INVALID_REQUEST = -32600;
const METHOD_NOT_FOUND = -32601;
const INVALID_PARAMS = -32602;
const PREFLIGHT_FAILURE = -32002;
const BAD_SIGNATURE = -32003;

/** Blocks for which the network takes a transaction. */
const BLOCKHASH_BLOCKS = 150;

class PreflightFailure extends Error {
  constructor(data) {
    super(`Transaction simulation failed: ${JSON.stringify(data.err)}`);
    this.data = data;
  }
}

const ledger = new Ledger();

/** An answer that says which state it is about. */
const at = (value) => ({ context: { slot: ledger.slot }, value });

const METHODS = {
  getAccountInfo: (address, options) => at(accountOf(address, options)),
  getMultipleAccounts: (addresses, options) => at(addresses.map((address) => accountOf(address, options))),
  getBalance: (address) => at(Number(ledger.lamports(address))),
  getTokenAccountBalance: (address) => at(tokensOf(address)),
  getLatestBlockhash: () => at({ blockhash: ledger.blockhash, lastValidBlockHeight: ledger.slot + BLOCKHASH_BLOCKS }),
  getSlot: () => ledger.slot,
  getBlockHeight: () => ledger.slot,
  simulateTransaction: (transaction, options) => at(ledger.simulate(inBase64(transaction, options), options)),
  sendTransaction: (transaction, options) => {
    const base64 = inBase64(transaction, options);
    const preflight = options.skipPreflight ? { err: null } : ledger.simulate(base64);
    if (preflight.err) throw new PreflightFailure(preflight);
    return ledger.send(base64);
  },
  getSignatureStatuses: (signatures) => at(signatures.map(statusOf)),

  labNewWallet: ({ funds, lamports }) => ledger.newWallet(BigInt(funds), BigInt(lamports)),
  labBalance: async (owner) => String(await ledger.balanceOf(owner)),
  labTransfers: (owner) => ledger.transfersOf(owner),
  labExpireBlockhash: () => ledger.expireBlockhash(),
};

serveJson(async (asked, request) => {
  if (asked !== "POST /") return [404, { error: "no such path" }];
  const { id = null, method, params = [] } = request ?? {};
  const failed = (code, message, data) => [200, { jsonrpc: "2.0", id, error: { code, message, data } }];
  if (typeof method !== "string" || !Array.isArray(params)) return failed(INVALID_REQUEST, "Invalid request");
  if (!Object.hasOwn(METHODS, method)) return failed(METHOD_NOT_FOUND, "Method not found");
  try {
    return [200, { jsonrpc: "2.0", id, result: await METHODS[method](...params) }];
  } catch (error) {
    if (error instanceof PreflightFailure) return failed(PREFLIGHT_FAILURE, error.message, error.data);
    if (error instanceof BadSignature) return failed(BAD_SIGNATURE, "Transaction signature verification failure");
    return failed(INVALID_PARAMS, error.message);
  }
});

function accountOf(address, { encoding = "base64" } = {}) {
  if (encoding !== "base64") throw new Error(`the encoding ${encoding} is not one that this ledger writes`);
  const account = ledger.account(address);
  if (!account.exists) return null;
  return {
    data: [getBase64Decoder().decode(account.data), "base64"],
    executable: account.executable,
    lamports: Number(account.lamports),
    owner: account.programAddress,
    rentEpoch: 0,
    space: account.data.length,
  };
}

function tokensOf(address) {
  const tokens = ledger.tokens(address);
  if (!tokens) throw new Error("Invalid param: could not find account");
  const whole = Number(tokens.amount) / 10 ** DECIMALS;
  return { amount: String(tokens.amount), decimals: DECIMALS, uiAmount: whole, uiAmountString: String(whole) };
}

function inBase64(transaction, { encoding = "base58" } = {}) {
  if (encoding !== "base64") throw new Error(`the encoding ${encoding} is not one that this ledger reads`);
  return transaction;
}

function statusOf(signature) {
  const landed = ledger.landed(signature);
  if (!landed) return null;
  const { slot, err } = landed;
  const status = err ? { Err: err } : { Ok: null };
  return { slot, confirmations: null, err, status, confirmationStatus: "finalized" };
}
