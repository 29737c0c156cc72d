// The built gateway finds out what became of payments whose settlement got no answer, from the chain that the official
// facilitator settles on.
//
// FAREBOX is the binary; without it, the one that `cargo build` makes. LAB_LOG is a file for the gateway's log.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { authorization, payloadOf, sign } from "../../../chain/authorization.mjs";
import { facilitatorKey, startChain } from "../../../chain/chain.mjs";
import { startGuarded } from "../../../chain/guarded.mjs";
import { startFacilitator } from "../facilitator.mjs";

const BUILT = fileURLToPath(new URL("../../../../../target/debug/farebox", import.meta.url));
const FAREBOX = resolve(process.env.FAREBOX ?? BUILT);
const PRICE = 10_000n;
const LOOK_EVERY_MS = 100;
const LIMIT_MS = 60_000;
const seller = privateKeyToAccount(generatePrivateKey()).address;
const started = [];
let folder;
let chain;
let between;
let gateway;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "farebox-resolution-"));
  started.push({ stop: () => rm(folder, { recursive: true }) });
  chain = await startChain();
  started.push(chain);
  const facilitator = await startFacilitator({ rpc: chain.url, key: facilitatorKey(0) });
  started.push(facilitator);
  between = await startSilencer(facilitator.url);
  started.push(between);
  gateway = await startGateway();
  started.push(gateway);
});
after(async () => {
  for (const part of started.reverse()) await part.stop();
});

function listen(server) {
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server.address().port)));
}

/** Stands before a facilitator: what it answers to a `/settle` is never heard, and while `deaf`, nor is the question. */
async function startSilencer(facilitator) {
  const state = { settles: 0, deaf: false };
  const server = createServer(async (request, response) => {
    const settles = request.url === "/settle";
    state.settles += settles;
    if (!(settles && state.deaf)) {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const body = chunks.length ? Buffer.concat(chunks) : undefined;
      const headers = { "content-type": "application/json" };
      const answer = await fetch(`${facilitator}${request.url}`, { method: request.method, headers, body });
      const text = await answer.text();
      if (!settles) return response.writeHead(answer.status, headers).end(text);
    }
    request.socket.destroy();
  });
  state.url = `http://127.0.0.1:${await listen(server)}`;
  state.stop = () => {
    server.close();
    server.closeAllConnections();
  };
  return state;
}

async function startGateway() {
  const upstream = createServer((_, response) => response.end("goods"));
  const upstreamPort = await listen(upstream);
  // Nobody knows which port it is given; one that was free a moment ago will do.
  const placeholder = createServer();
  const port = await listen(placeholder);
  await new Promise((done) => placeholder.close(done));
  const config = join(folder, "gateway.toml");
  await writeFile(
    config,
    `[server]\nlisten = ["127.0.0.1:${port}"]\n
[admin]\nlisten = "off"\n
[networks.base-sepolia]\nrpc_url = "${chain.url}"\nconfirmations = 1\n
[facilitators.main]\nurl = "${between.url}"\n
[pay.usdc]\nnetwork = "base-sepolia"\nasset = "USDC"\npay_to = "${seller}"\nfacilitators = ["main"]\n
[upstreams.goods]\nservers = ["127.0.0.1:${upstreamPort}"]\n
[[route]]\npath = "/goods"\nprice = "$0.01"\nsettle = "before"\n`,
  );
  const process_ = await startGuarded([FAREBOX, "run", config], {
    ready: (line) => (line.includes('"message":"serving"') ? true : undefined),
    on: "stderr",
    log: process.env.LAB_LOG,
  });
  const stop = async () => {
    await process_.stop();
    upstream.close();
  };
  return { url: `http://127.0.0.1:${port}/goods`, config, stop };
}

/** Pays, gets no goods and is told to send the same again: what it sent, and who. */
async function payInVain() {
  const account = privateKeyToAccount(generatePrivateKey());
  await chain.mint(account.address, PRICE);
  const terms = await fetch(gateway.url).then((unpaid) => decode(unpaid.headers.get("payment-required")));
  const message = authorization({ from: account.address, to: seller, value: PRICE });
  const payload = payloadOf(message, await sign(account, message));
  const payment = JSON.stringify({ x402Version: 2, accepted: terms.accepts[0], payload });
  const headers = { "payment-signature": Buffer.from(payment).toString("base64") };
  const pending = await fetch(gateway.url, { headers });
  const body = await pending.json();
  assert.deepEqual([pending.status, body.error, body.retry], [503, "settlement_pending", "same_payment"]);
  return { account, message, headers };
}

function decode(header) {
  return JSON.parse(Buffer.from(header, "base64").toString());
}

/** The ledger's only row of a payer, once its outcome is known. */
async function outcome(payer) {
  const ledger = ["ledger", gateway.config, "--json", "--payer", payer];
  const deadline = Date.now() + LIMIT_MS;
  for (;;) {
    const { stdout } = await promisify(execFile)(FAREBOX, ledger);
    const [row, ...others] = JSON.parse(stdout);
    assert.deepEqual(others, []);
    if (row.state !== "unknown") return row;
    assert.ok(Date.now() < deadline, `still unknown: ${row.error}`);
    await pause(LOOK_EVERY_MS);
  }
}

test("settled in silence: the chain says so, with the right transaction, and the payment opens its route", async () => {
  between.deaf = false;
  const asked = between.settles;
  const { account, headers } = await payInVain();
  const row = await outcome(account.address);
  const [event, ...others] = await chain.authorizationsUsed(account.address);
  assert.deepEqual(others, []);
  assert.deepEqual([row.state, row.transaction, row.delivered_at], ["settled", event.transactionHash, null]);
  assert.equal(between.settles - asked, 1);

  const served = await fetch(gateway.url, { headers });
  assert.deepEqual([served.status, await served.text()], [200, "goods"]);
  assert.equal(decode(served.headers.get("payment-response")).transaction, event.transactionHash);
  assert.equal(await chain.balance(account.address), 0n);
});

test("cancelled by its payer: failed", async () => {
  between.deaf = true;
  const { account, message } = await payInVain();
  const cancellation = { authorizer: account.address, nonce: message.nonce };
  const signature = await sign(account, cancellation, "CancelAuthorization");
  const args = [account.address, message.nonce, signature];
  await chain.send({ ...chain.token, functionName: "cancelAuthorization", args });
  const row = await outcome(account.address);
  assert.equal(row.state, "failed");
  assert.match(row.error, /cancelled/);
  assert.equal(await chain.balance(account.address), PRICE);
});

// The last one: afterwards it is another day on this chain.
test("never settled: failed when its time is over", async () => {
  between.deaf = true;
  const { account } = await payInVain();
  await chain.control.increaseTime({ seconds: 3600 });
  await chain.mine();
  const row = await outcome(account.address);
  assert.equal(row.state, "failed");
  assert.match(row.error, /time is over/);
  assert.equal(await chain.balance(account.address), PRICE);
});
