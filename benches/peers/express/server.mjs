// The official middleware of x402 v2 in an Express app as its documentation builds one. See ../README.md for PEER_….

import { HTTPFacilitatorClient } from "@x402/core/server";
import { ExactEvmScheme } from "@x402/evm/exact/server";
import { paymentMiddleware, x402ResourceServer } from "@x402/express";
import express from "express";
import { setTimeout as pause } from "node:timers/promises";

const { PEER_PORT, PEER_FACILITATOR, PEER_PATH, PEER_PRICE, PEER_PAY_TO, PEER_DESCRIPTION, PEER_WAIT_MS } = process.env;
const NETWORK = "eip155:84532";

const facilitator = new HTTPFacilitatorClient({ url: PEER_FACILITATOR });
const server = new x402ResourceServer(facilitator).register(NETWORK, new ExactEvmScheme());
const routes = {
  [`GET ${PEER_PATH}`]: {
    accepts: { scheme: "exact", price: PEER_PRICE, network: NETWORK, payTo: PEER_PAY_TO },
    description: PEER_DESCRIPTION,
    mimeType: "application/json",
  },
};

const app = express();
app.use(paymentMiddleware(routes, server));
app.get(PEER_PATH, async (_request, response) => {
  if (PEER_WAIT_MS) await pause(Number(PEER_WAIT_MS));
  response.json({ paid: true });
});
app.listen(Number(PEER_PORT), "127.0.0.1");
