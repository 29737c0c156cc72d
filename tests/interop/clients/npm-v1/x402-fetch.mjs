// x402-fetch, as its README says to use it. With the argument `browser`: under a browser's CORS rules.

import fetchCookie from "fetch-cookie";
import { createWalletClient, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { baseSepolia } from "viem/chains";
import { decodeXPaymentResponse, wrapFetchWithPayment } from "x402-fetch";

import { browserFetch } from "../browser.mjs";
import { fetchAnswer, perKey, serve } from "../serve.mjs";

const newFetch = process.argv[2] === "browser" ? () => browserFetch : () => fetchCookie(fetch);

const payingFetch = perKey((key) => {
  const wallet = createWalletClient({ account: privateKeyToAccount(key), transport: http(), chain: baseSepolia });
  return wrapFetchWithPayment(newFetch(), wallet);
});

await serve("x402-fetch", (job) => fetchAnswer(payingFetch(job.key), job, decodeXPaymentResponse));
