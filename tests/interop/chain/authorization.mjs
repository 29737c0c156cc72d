// EIP-3009 authorizations: signed by hand, as a client without any SDK would.

import { randomBytes } from "node:crypto";
import { ADDRESSES, CHAIN_ID } from "./chain.mjs";

/** The token's EIP-712 domain. */
export const DOMAIN = { name: "USDC", version: "2", chainId: CHAIN_ID, verifyingContract: ADDRESSES.token };

const MOVE = ["from", "to", "value", "validAfter", "validBefore", "nonce"];
const FIELDS = { from: "address", to: "address", authorizer: "address", nonce: "bytes32" };
const TYPES = {
  TransferWithAuthorization: fields(MOVE),
  ReceiveWithAuthorization: fields(MOVE),
  CancelAuthorization: fields(["authorizer", "nonce"]),
};
const VALID_SECONDS = 300n;

/** An authorization that is valid now, for some minutes, with a nonce of its own; `changed` fields are as given. */
export function authorization({ from, to, value, ...changed }) {
  const now = BigInt(Math.floor(Date.now() / 1000));
  const nonce = `0x${randomBytes(32).toString("hex")}`;
  return { from, to, value: BigInt(value), validAfter: 0n, validBefore: now + VALID_SECONDS, nonce, ...changed };
}

/** Signs a message of one of the token's types with a viem account. */
export function sign(account, message, primaryType = "TransferWithAuthorization") {
  return account.signTypedData({ domain: DOMAIN, types: TYPES, primaryType, message });
}

/** The arguments of the token's `transferWithAuthorization` and `receiveWithAuthorization`, without the signature. */
export function moveArguments(message) {
  return MOVE.map((field) => message[field]);
}

/** The `payload` of an x402 payment, of either version. */
export function payloadOf(message, signature) {
  return { signature, authorization: Object.fromEntries(MOVE.map((field) => [field, String(message[field])])) };
}

function fields(names) {
  return names.map((name) => ({ name, type: FIELDS[name] ?? "uint256" }));
}
