// The official middleware for Express in front of a handler of its own, as the reference order is measured: server.mjs
// PORT FACILITATOR PATH MILLISECONDS. It ends when it is killed.

import { HTTPFacilitatorClient } from "@x402/core/server";
import { ExactEvmScheme } from "@x402/evm/exact/server";
import { paymentMiddleware, x402ResourceServer } from "@x402/express";
import express from "express";
import { setTimeout as pause } from "node:timers/promises";

const NETWORK = "eip155:84532";
const BODY_BYTES = 1024;

const [port, facilitator, path, milliseconds] = process.argv.slice(2);

const server = new x402ResourceServer(new HTTPFacilitatorClient({ url: facilitator })).register(
  NETWORK,
  new ExactEvmScheme(),
);
const accepts = {
  scheme: "exact",
  network: NETWORK,
  payTo: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
  price: "$0.01",
};
const route = { accepts, description: "Premium market data", mimeType: "application/json" };

const app = express();
app.use(paymentMiddleware({ [`GET ${path}`]: route }, server));
app.get(path, async (_request, response) => {
  await pause(Number(milliseconds));
  response.send("x".repeat(BODY_BYTES));
});
app.listen(Number(port), "127.0.0.1");
