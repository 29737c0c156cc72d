// @x402/fetch, as its README says to use it. With the argument `browser`: under a browser's CORS rules.

import { x402Client, wrapFetchWithPayment, decodePaymentResponseHeader } from "@x402/fetch";
import { registerExactEvmScheme } from "@x402/evm/exact/client";
import fetchCookie from "fetch-cookie";
import { privateKeyToAccount } from "viem/accounts";

import { browserFetch } from "../browser.mjs";
import { fetchAnswer, perKey, serve } from "../serve.mjs";

const newFetch = process.argv[2] === "browser" ? () => browserFetch : () => fetchCookie(fetch);

const payingFetch = perKey((key) => {
  const client = registerExactEvmScheme(new x402Client(), { signer: privateKeyToAccount(key) });
  return wrapFetchWithPayment(newFetch(), client);
});

await serve("@x402/fetch", (job) => fetchAnswer(payingFetch(job.key), job, decodePaymentResponseHeader));
