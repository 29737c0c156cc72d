// x402-axios, as its README says to use it.

import axios from "axios";
import { wrapper } from "axios-cookiejar-support";
import { CookieJar } from "tough-cookie";
import { createWalletClient, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { baseSepolia } from "viem/chains";
import { decodeXPaymentResponse, withPaymentInterceptor } from "x402-axios";

import { axiosAnswer, perKey, serve } from "../serve.mjs";

const paying = perKey((key) => {
  const wallet = createWalletClient({ account: privateKeyToAccount(key), transport: http(), chain: baseSepolia });
  return withPaymentInterceptor(wrapper(axios.create({ jar: new CookieJar() })), wallet);
});

await serve("x402-axios", (job) => axiosAnswer(paying(job.key), job, decodeXPaymentResponse));
