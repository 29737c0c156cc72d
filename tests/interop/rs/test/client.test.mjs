// x402-rs's client at the built gateway: what it answers to the lab.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { PRICE } from "../../facilitators/dialects.mjs";
import { FUNDS, Lab } from "../../facilitators/gateway-lab.mjs";
import { startFacilitator } from "../../facilitators/rs/facilitator.mjs";

const BUILT = fileURLToPath(new URL("../../../../target/interop/rs/debug/client", import.meta.url));
const lab = new Lab(startFacilitator);
let client;

before(async () => {
  await lab.start();
  client = startClient();
});
after(async () => {
  await client?.stop();
  await lab.stop();
});

function startClient() {
  const child = spawn(BUILT, { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((done) => child.once("close", done));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value);
  return {
    next,
    ask: (job) => {
      child.stdin.write(`${JSON.stringify(job)}\n`);
      return next();
    },
    /** It ends with its input. */
    stop: () => {
      child.stdin.end();
      return ended;
    },
  };
}

/** The gateway as a seller that knows v1 only. */
async function startV1Seller() {
  const server = createServer(async ({ url, headers: { "x-payment": payment } }, response) => {
    const answer = await fetch(lab.url + url, { headers: payment && { "x-payment": payment } });
    const kept = [...answer.headers].filter(([name]) => name !== "payment-required");
    response.writeHead(answer.status, kept).end(await answer.text());
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { url: `http://127.0.0.1:${server.address().port}`, stop: () => server.close() };
}

test("it says its version first", async () => {
  assert.deepEqual(await client.next(), { version: "2.0.2" });
});

test("it pays in v2, and decodes the settlement", async () => {
  const { address, key } = await lab.newPayer();
  const { settlement, ...answer } = await client.ask({ url: `${lab.url}/on-success`, method: "GET", key });
  assert.deepEqual(answer, { status: 200, body: "goods", pass: null });
  const [{ transactionHash: transaction }, ...others] = await lab.chain.authorizationsUsed(address);
  assert.deepEqual(settlement, { success: true, payer: address, transaction, network: "eip155:84532" });
  assert.deepEqual(others, []);
  assert.equal(await lab.chain.balance(address), FUNDS - PRICE);
});

test("it pays a seller that knows v1 only in v1", async () => {
  const { address, key } = await lab.newPayer();
  const seller = await startV1Seller();
  try {
    const { status, settlement } = await client.ask({ url: `${seller.url}/before`, method: "GET", key });
    assert.deepEqual([status, settlement.network], [200, "base-sepolia"]);
    assert.equal(await lab.chain.balance(address), FUNDS - PRICE);
  } finally {
    seller.stop();
  }
});

test("it rides a window by its cookie, and lends it to no other key", async () => {
  const payers = [await lab.newPayer(), await lab.newPayer()];
  const visit = ({ key }) => client.ask({ url: `${lab.url}/window`, method: "GET", key });
  for (const payer of [payers[0], payers[0], payers[1]]) assert.equal((await visit(payer)).status, 200);
  for (const { address } of payers) assert.equal((await lab.chain.authorizationsUsed(address)).length, 1);
});

test("it posts a body", async () => {
  const { key } = await lab.newPayer();
  const headers = { "content-type": "text/plain" };
  const job = { url: `${lab.url}/on-success`, method: "POST", headers, body: "hello", key };
  const { status, body } = await client.ask(job);
  assert.deepEqual([status, body], [200, "hello"]);
});

test("a refusal is an answer with a settlement that x402-types cannot read", async () => {
  const { address, key } = await lab.newPayer(PRICE - 1n);
  const { status, settlement } = await client.ask({ url: `${lab.url}/on-success`, method: "GET", key });
  assert.deepEqual([status, Object.keys(settlement)], [402, ["unreadable"]]);
  // Version 2.0.2 looks for `error_reason`; x402 writes `errorReason`.
  assert.match(settlement.unreadable, /^missing field `error_reason`/);
  assert.deepEqual(await lab.chain.authorizationsUsed(address), []);
});

test("what goes wrong is its own error", async () => {
  const { key } = await lab.newPayer();
  assert.match((await client.ask({ url: "http://127.0.0.1:1/", method: "GET", key })).error, /^error sending request/i);
  assert.match((await client.ask({ url: `${lab.url}/window`, method: "GET", key: "0x1" })).error, /./);
});

test("it ends with its input", async () => {
  const other = startClient();
  await other.next();
  assert.equal(await other.stop(), 0);
});
