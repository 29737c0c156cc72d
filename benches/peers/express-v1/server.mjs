// The official middleware of x402 v1 in an Express app as its documentation builds one. See ../README.md for PEER_….

import express from "express";
import { paymentMiddleware } from "x402-express";

const { PEER_PORT, PEER_FACILITATOR, PEER_PATH, PEER_PRICE, PEER_PAY_TO, PEER_DESCRIPTION } = process.env;
const routes = {
  [`GET ${PEER_PATH}`]: {
    price: PEER_PRICE,
    network: "base-sepolia",
    config: { description: PEER_DESCRIPTION, mimeType: "application/json" },
  },
};

const app = express();
app.use(paymentMiddleware(PEER_PAY_TO, routes, { url: PEER_FACILITATOR }));
app.get(PEER_PATH, (_request, response) => response.json({ paid: true }));
app.listen(Number(PEER_PORT), "127.0.0.1");
