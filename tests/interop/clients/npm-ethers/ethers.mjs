// x402 by hand, signed by ethers.

import { Wallet } from "ethers";

import { decode, payingFetch } from "../by-hand.mjs";
import { fetchAnswer, serve } from "../serve.mjs";

await serve("ethers", (job) => {
  const wallet = new Wallet(job.key);
  const sign = ({ domain, types, message }) => wallet.signTypedData(domain, types, message);
  return fetchAnswer(payingFetch(wallet.address, sign), job, decode);
});
