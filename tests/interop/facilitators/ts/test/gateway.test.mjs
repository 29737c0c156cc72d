// The built gateway between its own client and the official facilitator: what was paid is what the chain says.
//
// FAREBOX is the binary; without it, the one that `cargo build` makes. LAB_LOG is a file for the gateway's log.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { authorization, payloadOf } from "../../../chain/authorization.mjs";
import { ADDRESSES, facilitatorKey, startChain } from "../../../chain/chain.mjs";
import { startGuarded } from "../../../chain/guarded.mjs";
import { newWallet } from "../../../chain/wallet.mjs";
import { startFacilitator } from "../facilitator.mjs";

const BUILT = fileURLToPath(new URL("../../../../../target/debug/farebox", import.meta.url));
const FAREBOX = resolve(process.env.FAREBOX ?? BUILT);
const PRICE = 10_000n;
const FUNDS = 1_000_000n;
const SETTLE_MODES = ["on-success", "before", "overlap"];
const DIALECTS = { v2: [], v1: ["--v1"] };
const seller = privateKeyToAccount(generatePrivateKey()).address;
const started = [];
let folder;
let chain;
let gateway;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "farebox-facilitator-"));
  started.push({ stop: () => rm(folder, { recursive: true }) });
  chain = await startChain();
  started.push(chain);
  const facilitator = await startFacilitator({
    rpc: chain.url,
    key: facilitatorKey(0),
    factories: [ADDRESSES.walletFactory],
  });
  started.push(facilitator);
  const upstream = createServer(({ url }, response) => response.writeHead(url === "/broken" ? 500 : 200).end("goods"));
  const upstreamPort = await listen(upstream);
  started.push({ stop: () => upstream.close() });
  gateway = await startGateway(facilitator.url, upstreamPort);
  started.push(gateway);
});
after(async () => {
  for (const part of started.reverse()) await part.stop();
});

function listen(server) {
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server.address().port)));
}

async function startGateway(facilitator, upstreamPort) {
  // Nobody knows which port it is given; one that was free a moment ago will do.
  const placeholder = createServer();
  const port = await listen(placeholder);
  await new Promise((done) => placeholder.close(done));
  const routes = SETTLE_MODES.map(
    (settle) => `[[route]]\npath = "/${settle}"\nprice = "$0.01"\nsettle = "${settle}"\n`,
  );
  const config = join(folder, "gateway.toml");
  await writeFile(
    config,
    `[server]\nlisten = ["127.0.0.1:${port}"]\n
[admin]\nlisten = "off"\n
[facilitators.main]\nurl = "${facilitator}"\n
[pay.usdc]\nnetwork = "base-sepolia"\nasset = "USDC"\npay_to = "${seller}"\nfacilitators = ["main"]\n
[upstreams.goods]\nservers = ["127.0.0.1:${upstreamPort}"]\n
[[route]]\npath = "/broken"\nprice = "$0.01"\n
${routes.join("\n")}`,
  );
  const { stop } = await startGuarded([FAREBOX, "run", config], {
    ready: (line) => (line.includes('"message":"serving"') ? true : undefined),
    on: "stderr",
    log: process.env.LAB_LOG,
  });
  return { url: `http://127.0.0.1:${port}`, config, stop };
}

/** Runs a command of the binary, and gives its exit code and the JSON that it prints. */
function farebox(args, environment = {}) {
  const options = { env: { ...process.env, ...environment } };
  return new Promise((done, fail) => {
    execFile(FAREBOX, args, options, (error, stdout, stderr) => {
      try {
        done({ code: error?.code ?? 0, answer: JSON.parse(stdout) });
      } catch {
        fail(new Error(`farebox ${args.join(" ")}: ${error?.code} ${stdout}${stderr}`));
      }
    });
  });
}

async function newPayer() {
  const key = generatePrivateKey();
  const { address } = privateKeyToAccount(key);
  await chain.mint(address, FUNDS);
  return { address, key };
}

function payments(payer) {
  return farebox(["ledger", gateway.config, "--json", "--payer", payer]).then(({ answer }) => answer);
}

for (const [dialect, flags] of Object.entries(DIALECTS)) {
  for (const settle of SETTLE_MODES) {
    test(`${dialect}, ${settle}: the price moves, once, and the ledger agrees`, async () => {
      const payer = await newPayer();
      const before = await chain.balance(seller);
      const pay = ["pay", `${gateway.url}/${settle}`, "--yes", "--json", ...flags];
      const { code, answer } = await farebox(pay, { FAREBOX_KEY: payer.key });
      assert.deepEqual([code, answer.status, answer.body], [0, 200, "goods"]);
      assert.equal(await chain.balance(payer.address), FUNDS - PRICE);
      assert.equal(await chain.balance(seller), before + PRICE);
      const [event, ...others] = await chain.authorizationsUsed(payer.address);
      assert.deepEqual(others, []);
      assert.equal(answer.settlement.transaction, event.transactionHash);
      const [row, ...rows] = await payments(payer.address);
      assert.deepEqual(
        [row.state, row.transaction, row.amount, rows],
        ["settled", event.transactionHash, String(PRICE), []],
      );
    });
  }

  test(`${dialect}: an upstream's failure costs nothing`, async () => {
    const payer = await newPayer();
    const pay = ["pay", `${gateway.url}/broken`, "--yes", "--json", ...flags];
    const { code, answer } = await farebox(pay, { FAREBOX_KEY: payer.key });
    assert.deepEqual([code, answer.status], [1, 500]);
    assert.equal(await chain.balance(payer.address), FUNDS);
    assert.deepEqual(await chain.authorizationsUsed(payer.address), []);
  });
}

test("a smart account that is not deployed yet pays", async () => {
  const wallet = await newWallet(chain, FUNDS);
  const unpaid = await fetch(`${gateway.url}/on-success`);
  const [accepted] = decode(unpaid.headers.get("payment-required")).accepts;
  const message = authorization({ from: wallet.address, to: seller, value: PRICE });
  const payload = payloadOf(message, wallet.wrap(await wallet.sign(message)));
  const payment = JSON.stringify({ x402Version: 2, accepted, payload });
  const headers = { "payment-signature": Buffer.from(payment).toString("base64") };

  const paid = await fetch(`${gateway.url}/on-success`, { headers });
  assert.deepEqual([paid.status, await paid.text()], [200, "goods"]);
  assert.equal(decode(paid.headers.get("payment-response")).payer, wallet.address);
  assert.equal(await chain.balance(wallet.address), FUNDS - PRICE);
});

function decode(header) {
  return JSON.parse(Buffer.from(header, "base64").toString());
}
