// The official TypeScript facilitator behind plain HTTP: /verify, /settle and /supported, for x402 v1 and v2, scheme
// `exact` on the lab's chain. Its first line of output is {"port": …}; SIGTERM ends it.
//
// LAB_RPC            the chain's JSON-RPC
// LAB_KEY            the private key that pays the gas
// LAB_RECEIPT_MS     how long a settlement waits for its receipt; later than that it is pending
// LAB_FACTORIES      whose smart accounts it deploys (EIP-6492): addresses with commas between

import { createServer } from "node:http";
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { ExactEvmScheme } from "@x402/evm/exact/facilitator";
import { ExactEvmSchemeV1 } from "@x402/evm/exact/v1/facilitator";
import { createWalletClient, http, publicActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { baseSepolia } from "viem/chains";

/** viem's own four seconds would be the price of every settlement. */
const POLLING_MS = 25;
const BODY_BYTES_MAX = 1 << 20;

const { LAB_RPC, LAB_KEY, LAB_RECEIPT_MS, LAB_FACTORIES } = process.env;

const signer = toFacilitatorEvmSigner(evmClient(), { confirmationTimeoutMs: Number(LAB_RECEIPT_MS) });
const options = { eip6492AllowedFactories: LAB_FACTORIES ? LAB_FACTORIES.split(",") : [] };
const facilitator = new x402Facilitator()
  .register("eip155:84532", new ExactEvmScheme(signer, options))
  .registerV1("base-sepolia", new ExactEvmSchemeV1(signer, options));

const server = createServer(async (request, response) => {
  const [status, body] = await answer(request).catch((error) => [500, { error: error.message }]);
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
process.once("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});

/** Statuses as the official example has them: what the SDK throws is a 500. */
async function answer(request) {
  switch (`${request.method} ${request.url}`) {
    case "GET /supported":
      return [200, facilitator.getSupported()];
    case "POST /verify":
      return judged(request, (payment, requirements) => facilitator.verify(payment, requirements));
    case "POST /settle":
      return judged(request, (payment, requirements) => facilitator.settle(payment, requirements));
    default:
      return [404, { error: "no such path" }];
  }
}

async function judged(request, judge) {
  const body = await readJson(request);
  if (body === undefined) return [400, { error: "Not JSON" }];
  const { paymentPayload, paymentRequirements } = body ?? {};
  if (!paymentPayload || !paymentRequirements) return [400, { error: "Missing paymentPayload or paymentRequirements" }];
  return [200, await judge(paymentPayload, paymentRequirements)];
}

async function readJson(request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) return undefined;
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    return undefined;
  }
}

/** viem's client, which sends one transaction at a time: two at once would take the same account nonce. */
function evmClient() {
  const account = privateKeyToAccount(LAB_KEY);
  const client = createWalletClient({
    account,
    chain: baseSepolia,
    transport: http(LAB_RPC),
    pollingInterval: POLLING_MS,
    cacheTime: 0,
  }).extend(publicActions);
  let last = Promise.resolve();
  const inTurn = (send) => (transaction) => {
    const sent = last.then(() => send(transaction));
    last = sent.catch(() => {});
    return sent;
  };
  return {
    ...client,
    address: account.address,
    writeContract: inTurn(client.writeContract),
    sendTransaction: inTurn(client.sendTransaction),
  };
}
