// x402-axios, as its README says to use it.

import axios from "axios";
import { createWalletClient, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { baseSepolia } from "viem/chains";
import { decodeXPaymentResponse, withPaymentInterceptor } from "x402-axios";

import { axiosAnswer, serve } from "../serve.mjs";

await serve("x402-axios", async ({ url, method, headers, body, key }) => {
  const wallet = createWalletClient({ account: privateKeyToAccount(key), transport: http(), chain: baseSepolia });
  const paying = withPaymentInterceptor(axios.create(), wallet);
  const asked = paying.request({ url, method, headers, data: body });
  return axiosAnswer(asked, "x-payment-response", decodeXPaymentResponse);
});
