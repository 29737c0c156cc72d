// @x402/fetch, as its README says to use it. With the argument `browser`: under a browser's CORS rules.

import { x402Client, wrapFetchWithPayment, decodePaymentResponseHeader } from "@x402/fetch";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import { privateKeyToAccount } from "viem/accounts";

import { browserFetch } from "../browser.mjs";
import { answer, serve } from "../serve.mjs";

const plainFetch = process.argv[2] === "browser" ? browserFetch : fetch;

await serve("@x402/fetch", async ({ url, method, headers, body, key }) => {
  const client = new x402Client().register("eip155:*", new ExactEvmScheme(privateKeyToAccount(key)));
  const payingFetch = wrapFetchWithPayment(plainFetch, client);
  const response = await payingFetch(url, { method, headers, body });
  return answer(response, "PAYMENT-RESPONSE", decodePaymentResponseHeader);
});
