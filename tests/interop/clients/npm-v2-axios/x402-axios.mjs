// @x402/axios, as its README says to use it. Its newest release stands on an older core than @x402/fetch's.

import { decodePaymentResponseHeader, wrapAxiosWithPayment, x402Client } from "@x402/axios";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import axios from "axios";
import { privateKeyToAccount } from "viem/accounts";

import { axiosAnswer, serve } from "../serve.mjs";

await serve("@x402/axios", async ({ url, method, headers, body, key }) => {
  const client = new x402Client().register("eip155:*", new ExactEvmScheme(privateKeyToAccount(key)));
  const paying = wrapAxiosWithPayment(axios.create(), client);
  const asked = paying.request({ url, method, headers, data: body });
  return axiosAnswer(asked, "payment-response", decodePaymentResponseHeader);
});
