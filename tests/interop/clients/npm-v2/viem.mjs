// x402 by hand, signed by viem.

import { privateKeyToAccount } from "viem/accounts";

import { decode, payingFetch } from "../by-hand.mjs";
import { fetchAnswer, serve } from "../serve.mjs";

await serve("viem", (job) => {
  const account = privateKeyToAccount(job.key);
  return fetchAnswer(payingFetch(account.address, (data) => account.signTypedData(data)), job, decode);
});
