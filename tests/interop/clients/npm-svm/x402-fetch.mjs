// @x402/fetch with all it has for Solana, as the READMEs say to use it; with a key for Ethereum too, it can pay both.

import { createKeyPairSignerFromBytes, getBase58Encoder } from "@solana/kit";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import { ExactEvmSchemeV1 } from "@x402/evm/exact/v1/client";
import { x402Client, wrapFetchWithPayment, decodePaymentResponseHeader } from "@x402/fetch";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { ExactSvmSchemeV1 } from "@x402/svm/exact/v1/client";
import { privateKeyToAccount } from "viem/accounts";

import { fetchAnswer, serve } from "../serve.mjs";

await serve("@x402/svm", async (job) => {
  const { key, solanaKey, solanaRpc } = job;
  const signer = await createKeyPairSignerFromBytes(getBase58Encoder().encode(solanaKey));
  const client = new x402Client()
    .register("solana:*", new ExactSvmScheme(signer, { rpcUrl: solanaRpc }))
    .registerV1("solana-devnet", new ExactSvmSchemeV1(signer, { rpcUrl: solanaRpc }));
  if (key) {
    const account = privateKeyToAccount(key);
    client.register("eip155:*", new ExactEvmScheme(account)).registerV1("base-sepolia", new ExactEvmSchemeV1(account));
  }
  return fetchAnswer(wrapFetchWithPayment(fetch, client), job, decodePaymentResponseHeader);
});
