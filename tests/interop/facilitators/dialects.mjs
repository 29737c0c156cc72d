// What the gateway sends to a facilitator, in both versions of x402.

import { authorization, payloadOf, sign } from "../chain/authorization.mjs";
import { ADDRESSES } from "../chain/chain.mjs";

export const PRICE = 10_000n;

/** The network's name, the terms, and how a payment is wrapped. */
export const DIALECTS = {
  v2: {
    version: 2,
    network: "eip155:84532",
    terms: { amount: String(PRICE) },
    envelope: (requirements, { payload }) => ({ x402Version: 2, accepted: requirements, payload }),
  },
  v1: {
    version: 1,
    network: "base-sepolia",
    terms: { maxAmountRequired: String(PRICE), resource: "http://127.0.0.1/", description: "", mimeType: "" },
    envelope: ({ scheme, network }, { payload }) => ({ x402Version: 1, scheme, network, payload }),
  },
};

export function requirementsOf({ network, terms }, payTo) {
  const extra = { name: "USDC", version: "2" };
  return { scheme: "exact", network, asset: ADDRESSES.token, payTo, maxTimeoutSeconds: 300, extra, ...terms };
}

/** The body of a `/verify` and a `/settle`. */
export function envelopeOf({ version, envelope }, requirements, payment) {
  return {
    x402Version: version,
    paymentPayload: envelope(requirements, payment),
    paymentRequirements: requirements,
  };
}

/** The same of a payment that is signed by hand; `changed` fields of the authorization are as given. */
export async function signedEnvelope(dialect, payer, payTo, changed) {
  const message = authorization({ from: payer.address, to: payTo, value: PRICE, ...changed });
  const payload = payloadOf(message, await sign(payer, message));
  return envelopeOf(dialect, requirementsOf(dialect, payTo), { payload });
}

/** Posts to a facilitator: a string as it is, all else as JSON. */
export async function post(url, body) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.startsWith("application/json");
  return { status: response.status, ...(isJson ? JSON.parse(text) : { text }) };
}
