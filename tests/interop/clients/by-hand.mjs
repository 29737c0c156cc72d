// x402 by hand, `exact` on EVM: no SDK, only the specification. Signing is a wallet library's.

import { randomBytes } from "node:crypto";

/** Networks of v1 by chain id. Networks of v2 carry theirs: `eip155:84532`. */
const CHAINS_V1 = { base: 8453, "base-sepolia": 84532 };

const TYPES = {
  TransferWithAuthorization: [
    { name: "from", type: "address" },
    { name: "to", type: "address" },
    { name: "value", type: "uint256" },
    { name: "validAfter", type: "uint256" },
    { name: "validBefore", type: "uint256" },
    { name: "nonce", type: "bytes32" },
  ],
};

export const decode = (header) => JSON.parse(Buffer.from(header, "base64").toString());
const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64");

/**
 * `fetch` that pays: v2 where the seller speaks it, else v1.
 *
 * @param address the payer's
 * @param signTypedData takes `{domain, types, primaryType, message}` of EIP-712, gives a signature
 */
export function payingFetch(address, signTypedData) {
  return async (url, init) => {
    const response = await fetch(url, init);
    if (response.status !== 402) return response;
    const terms = response.headers.get("PAYMENT-REQUIRED");
    const [header, payment] = terms ? await payV2(decode(terms)) : await payV1(await response.json());
    return fetch(url, { ...init, headers: { ...init.headers, [header]: encode(payment) } });
  };

  async function payV2({ resource, accepts }) {
    const accepted = choose(accepts);
    const payload = await sign(accepted, accepted.amount);
    return ["PAYMENT-SIGNATURE", { x402Version: 2, resource, accepted, payload }];
  }

  async function payV1({ accepts }) {
    const offer = choose(accepts);
    const { scheme, network } = offer;
    return ["X-PAYMENT", { x402Version: 1, scheme, network, payload: await sign(offer, offer.maxAmountRequired) }];
  }

  async function sign({ network, asset, payTo, maxTimeoutSeconds, extra }, value) {
    const now = Math.floor(Date.now() / 1000);
    const authorization = {
      from: address,
      to: payTo,
      value,
      validAfter: "0",
      validBefore: String(now + maxTimeoutSeconds),
      nonce: `0x${randomBytes(32).toString("hex")}`,
    };
    const signature = await signTypedData({
      domain: { name: extra.name, version: extra.version, chainId: chainId(network), verifyingContract: asset },
      types: TYPES,
      primaryType: "TransferWithAuthorization",
      message: authorization,
    });
    return { signature, authorization };
  }
}

/** The first offer that this wallet can pay. */
function choose(accepts) {
  const offer = accepts.find(({ scheme, network }) => scheme === "exact" && chainId(network));
  if (!offer) throw new Error(`no offer on EVM among ${JSON.stringify(accepts)}`);
  return offer;
}

function chainId(network) {
  const [namespace, id] = network.split(":");
  return namespace === "eip155" ? Number(id) : CHAINS_V1[network];
}
