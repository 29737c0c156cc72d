// x402 v2 by hand: no SDK, only the specification and a wallet library.

import { randomBytes } from "node:crypto";
import { privateKeyToAccount } from "viem/accounts";

import { answer, serve } from "../serve.mjs";

const TRANSFER = [
  { name: "from", type: "address" },
  { name: "to", type: "address" },
  { name: "value", type: "uint256" },
  { name: "validAfter", type: "uint256" },
  { name: "validBefore", type: "uint256" },
  { name: "nonce", type: "bytes32" },
];

const decode = (header) => JSON.parse(Buffer.from(header, "base64").toString());
const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64");

await serve("viem", async ({ url, method, headers, body, key }) => {
  let response = await fetch(url, { method, headers, body });
  if (response.status === 402) {
    const { resource, accepts } = decode(response.headers.get("PAYMENT-REQUIRED"));
    const payment = await sign(privateKeyToAccount(key), resource, accepts[0]);
    response = await fetch(url, { method, headers: { ...headers, "PAYMENT-SIGNATURE": encode(payment) }, body });
  }
  return answer(response, "PAYMENT-RESPONSE", decode);
});

async function sign(account, resource, accepted) {
  const now = Math.floor(Date.now() / 1000);
  const authorization = {
    from: account.address,
    to: accepted.payTo,
    value: accepted.amount,
    validAfter: "0",
    validBefore: String(now + accepted.maxTimeoutSeconds),
    nonce: `0x${randomBytes(32).toString("hex")}`,
  };
  const signature = await account.signTypedData({
    domain: {
      name: accepted.extra.name,
      version: accepted.extra.version,
      chainId: Number(accepted.network.split(":")[1]),
      verifyingContract: accepted.asset,
    },
    types: { TransferWithAuthorization: TRANSFER },
    primaryType: "TransferWithAuthorization",
    message: authorization,
  });
  return { x402Version: 2, resource, accepted, payload: { signature, authorization } };
}
