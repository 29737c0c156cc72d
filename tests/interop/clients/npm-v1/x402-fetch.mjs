// x402-fetch, as its README says to use it. With the argument `browser`: under a browser's CORS rules.

import { createWalletClient, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { baseSepolia } from "viem/chains";
import { decodeXPaymentResponse, wrapFetchWithPayment } from "x402-fetch";

import { browserFetch } from "../browser.mjs";
import { answer, serve } from "../serve.mjs";

const plainFetch = process.argv[2] === "browser" ? browserFetch : fetch;

await serve("x402-fetch", async ({ url, method, headers, body, key }) => {
  const wallet = createWalletClient({ account: privateKeyToAccount(key), transport: http(), chain: baseSepolia });
  const response = await wrapFetchWithPayment(plainFetch, wallet)(url, { method, headers, body });
  return answer(response, "X-PAYMENT-RESPONSE", decodeXPaymentResponse);
});
