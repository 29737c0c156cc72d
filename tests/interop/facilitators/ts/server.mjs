// The official TypeScript facilitator behind plain HTTP: /verify, /settle and /supported, for x402 v1 and v2, scheme
// `exact` on the lab's chain. Its first line of output is {"port": …}; SIGTERM ends it.
//
// LAB_RPC            the chain's JSON-RPC
// LAB_KEY            the private key that pays the gas
// LAB_RECEIPT_MS     how long a settlement waits for its receipt; later than that it is pending
// LAB_FACTORIES      whose smart accounts it deploys (EIP-6492): addresses with commas between

import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { ExactEvmScheme } from "@x402/evm/exact/facilitator";
import { ExactEvmSchemeV1 } from "@x402/evm/exact/v1/facilitator";
import { createWalletClient, http, publicActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { baseSepolia } from "viem/chains";
import { serveFacilitator } from "../http.mjs";

/** viem's own four seconds would be the price of every settlement. */
const POLLING_MS = 25;

const { LAB_RPC, LAB_KEY, LAB_RECEIPT_MS, LAB_FACTORIES } = process.env;

const signer = toFacilitatorEvmSigner(evmClient(), { confirmationTimeoutMs: Number(LAB_RECEIPT_MS) });
const options = { eip6492AllowedFactories: LAB_FACTORIES ? LAB_FACTORIES.split(",") : [] };
serveFacilitator(
  new x402Facilitator()
    .register("eip155:84532", new ExactEvmScheme(signer, options))
    .registerV1("base-sepolia", new ExactEvmSchemeV1(signer, options)),
);

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
