// @x402/axios, as its README says to use it. Its newest release stands on an older core than @x402/fetch's.

import { decodePaymentResponseHeader, wrapAxiosWithPayment, x402Client } from "@x402/axios";
import { registerExactEvmScheme } from "@x402/evm/exact/client";
import axios from "axios";
import { wrapper } from "axios-cookiejar-support";
import { CookieJar } from "tough-cookie";
import { privateKeyToAccount } from "viem/accounts";

import { axiosAnswer, perKey, serve } from "../serve.mjs";

const paying = perKey((key) => {
  const client = registerExactEvmScheme(new x402Client(), { signer: privateKeyToAccount(key) });
  return wrapAxiosWithPayment(wrapper(axios.create({ jar: new CookieJar() })), client);
});

await serve("@x402/axios", (job) => axiosAnswer(paying(job.key), job, decodePaymentResponseHeader));
