// The built gateway on Solana, between the official client and the official facilitator: what was paid is what the
// ledger says. LAB_CLIENTS is where the lab's clients are installed.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { devNull, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { facilitatorKey, startChain } from "../../chain/chain.mjs";
import { listen, startGateway } from "../../facilitators/gateway.mjs";
import { startFacilitator as startSvmFacilitator } from "../../facilitators/svm/facilitator.mjs";
import { startFacilitator as startEvmFacilitator } from "../../facilitators/ts/facilitator.mjs";
import { startClient } from "../../lab/client.mjs";
import { startRelay } from "../../lab/relay.mjs";
import { NETWORK, NETWORK_V1, startSolana } from "../solana.mjs";

const PRICE = 10_000n;
const FUNDS = 1_000_000n;
const SETTLE_MODES = ["on-success", "before", "overlap"];
/** The official client for both; one that knows Ethereum alone; one of the time before v2. */
const CLIENTS = { both: "npm-svm", evm: "npm-v2", evmV1: "npm-v1" };
const started = [];
const clients = {};
let solana;
let chain;
let feePayer;
let seller;
let evmSeller;
let facilitator;
let upstream;
let gateway;

async function start(part) {
  const running = await part;
  started.push(running);
  return running;
}

before(async () => {
  solana = await start(startSolana());
  chain = await start(startChain());
  feePayer = await solana.newWallet({ lamports: 10n ** 9n });
  seller = await solana.newWallet();
  evmSeller = await chain.newPayer();
  facilitator = await start(startSvmFacilitator({ rpc: solana.rpc, key: feePayer.secretKey }));
  const evmFacilitator = await start(startEvmFacilitator({ rpc: chain.url, key: facilitatorKey(0) }));
  const goods = createServer(async ({ url }, response) => {
    if (url === "/slow") await solana.expireBlockhash();
    response.writeHead(url === "/broken" ? 500 : 200).end("goods");
  });
  upstream = `127.0.0.1:${await listen(goods)}`;
  started.push({ stop: () => goods.close() });
  gateway = await startFarebox(`[facilitators.evm]\nurl = "${evmFacilitator.url}"\n
[pay.usdc]\nnetwork = "base-sepolia"\nasset = "USDC"\npay_to = "${evmSeller.address}"\nfacilitators = ["evm"]\n
[[route]]\npath = "/either"\nprice = "$0.01"\npay = ["usdc", "sol"]\n
[[route]]\npath = "/either-way-round"\nprice = "$0.01"\npay = ["sol", "usdc"]`);
  for (const [name, folder] of Object.entries(CLIENTS)) {
    const installed = { command: ["node", "x402-fetch.mjs"], folder: join(process.env.LAB_CLIENTS, folder) };
    clients[name] = await start(startClient(installed, devNull));
  }
});
after(async () => {
  for (const part of started.reverse()) await part.stop();
});

/** A gateway with routes that take Solana alone, and what is said besides. */
async function startFarebox(more = "", url = facilitator.url) {
  const folder = await mkdtemp(join(tmpdir(), "farebox-solana-"));
  started.push({ stop: () => rm(folder, { recursive: true }) });
  const routes = SETTLE_MODES.map((settle) => `[[route]]\npath = "/${settle}"\npay = ["sol"]\nsettle = "${settle}"`);
  const others = ["/broken", "/slow"].map((path) => `[[route]]\npath = "${path}"\npay = ["sol"]`);
  const priced = [...routes, ...others].map((route) => `${route}\nprice = "$0.01"\n`);
  return start(
    startGateway(
      folder,
      `[facilitators.svm]\nurl = "${url}"\n
[pay.sol]\nnetwork = "solana-devnet"\nasset = "USDC"\npay_to = "${seller.address}"\nfacilitators = ["svm"]\n
[upstreams.goods]\nservers = ["${upstream}"]\n
${priced.join("\n")}\n${more}`,
    ),
  );
}

async function newPayer(funds = FUNDS) {
  return solana.newWallet({ funds });
}

/** What the client makes of a resource: its answer, and the payments that it sent. */
async function buy(client, path, wallets, { onlyV1 = false, from = gateway } = {}) {
  const relay = await startRelay(new URL(from.url).port, { onlyV1 });
  try {
    const keys = { key: wallets.evm?.key, solanaKey: wallets.solana?.secretKey, solanaRpc: solana.rpc };
    const answer = await clients[client].ask({ url: `${relay.origin}${path}`, method: "GET", headers: {}, ...keys });
    return { ...answer, payments: relay.payments() };
  } finally {
    relay.stop();
  }
}

const DIALECTS = {
  v2: { payment: "payment-signature", settlement: "payment-response", network: NETWORK },
  v1: { payment: "x-payment", settlement: "x-payment-response", network: NETWORK_V1, onlyV1: true },
};

test("the challenge names who pays the fees, in both versions", async () => {
  const unpaid = await fetch(`${gateway.url}/on-success`);
  assert.equal(unpaid.status, 402);
  const v2 = decode(unpaid.headers.get("payment-required"));
  const v1 = await unpaid.json();
  const amounts = [v2.accepts[0].amount, v1.accepts[0].maxAmountRequired];
  assert.deepEqual([v2.accepts.length, v1.accepts.length, amounts], [1, 1, [String(PRICE), String(PRICE)]]);
  assert.deepEqual([v2.accepts[0].network, v1.accepts[0].network], [NETWORK, NETWORK_V1]);
  for (const { accepts } of [v2, v1]) assert.equal(accepts[0].extra.feePayer, feePayer.address);
});

for (const [version, dialect] of Object.entries(DIALECTS)) {
  for (const settle of SETTLE_MODES) {
    test(`${version}, ${settle}: the price moves, once, and the ledger agrees`, async () => {
      const payer = await newPayer();
      const before = await solana.balance(seller.address);
      const bought = await buy("both", `/${settle}`, { solana: payer }, dialect);
      assert.deepEqual([bought.status, bought.body, bought.payments.length], [200, "goods", 1], JSON.stringify(bought));
      const [transfer, ...others] = await solana.transfers(payer.address);
      assert.deepEqual(others, []);
      const moved = Object.fromEntries(transfer.moved.map(({ owner, amount }) => [owner, amount]));
      assert.deepEqual(moved, { [payer.address]: -PRICE, [seller.address]: PRICE });
      assert.equal(await solana.balance(seller.address), before + PRICE);
      const { success, transaction, network, payer: named } = bought.settlement;
      assert.deepEqual(
        [success, transaction, network, named],
        [true, transfer.signature, dialect.network, payer.address],
      );
      const [row, ...rows] = await gateway.payments(payer.address);
      assert.deepEqual(
        [row.state, row.transaction, row.amount, row.network, rows],
        ["settled", transfer.signature, String(PRICE), NETWORK, []],
      );

      const again = await fetch(`${gateway.url}/${settle}`, { headers: { [dialect.payment]: bought.payments[0] } });
      const { errorReason } = decode(again.headers.get(dialect.settlement));
      const codes = [errorReason, (await again.json()).error];
      assert.deepEqual([again.status, ...codes], [402, "duplicate_settlement", "duplicate_settlement"]);
      assert.equal((await solana.transfers(payer.address)).length, 1, "the second time moves nothing");
      assert.equal((await gateway.payments(payer.address)).length, 1);
    });

    test(`${version}, ${settle}: who owns too little is refused, at once and for certain`, async () => {
      const payer = await newPayer(PRICE - 1n);
      const { status, payments } = await buy("both", `/${settle}`, { solana: payer }, dialect);
      assert.equal(status, 402);
      assert.deepEqual([payments.length, await solana.transfers(payer.address)], [1, []]);
    });
  }

  test(`${version}: an upstream's failure costs nothing`, async () => {
    const payer = await newPayer();
    const { status, payments } = await buy("both", "/broken", { solana: payer }, dialect);
    assert.deepEqual([status, payments.length], [500, 1]);
    assert.deepEqual([await solana.balance(payer.address), await solana.transfers(payer.address)], [FUNDS, []]);
  });
}

test("a payment that grows too old while the upstream works costs nothing", async () => {
  const payer = await newPayer();
  const { status, payments } = await buy("both", "/slow", { solana: payer });
  assert.deepEqual([status, payments.length, await solana.transfers(payer.address)], [402, 1, []]);
});

test("with two ways to pay, a v1 body has only what every v1 client knows", async () => {
  for (const [path, networks] of [
    ["/either", ["eip155:84532", NETWORK]],
    ["/either-way-round", [NETWORK, "eip155:84532"]],
  ]) {
    const unpaid = await fetch(`${gateway.url}${path}`);
    const { accepts } = decode(unpaid.headers.get("payment-required"));
    assert.deepEqual(
      accepts.map(({ network }) => network),
      networks,
    );
    assert.deepEqual(
      (await unpaid.json()).accepts.map(({ network }) => network),
      ["base-sepolia"],
    );
  }
});

for (const path of ["/either", "/either-way-round"]) {
  test(`${path}: who has one kind of money pays with that`, async () => {
    const [onSolana, ...onEvm] = [await newPayer(), await chain.newPayer(FUNDS), await chain.newPayer(FUNDS)];
    const bought = await buy("both", path, { solana: onSolana });
    assert.deepEqual([bought.status, bought.settlement.network], [200, NETWORK], JSON.stringify(bought));
    assert.equal((await solana.transfers(onSolana.address)).length, 1);
    for (const [client, payer, network] of [
      ["evm", onEvm[0], "eip155:84532"],
      ["evmV1", onEvm[1], "base-sepolia"],
    ]) {
      const { status, body, settlement } = await buy(client, path, { evm: payer });
      assert.deepEqual([status, body, settlement?.network], [200, "goods", network], client);
      assert.deepEqual(
        [await chain.balance(payer.address), (await chain.transfers(payer.address)).length],
        [FUNDS - PRICE, 1],
      );
    }
  });

  test(`${path}: who has both pays once`, async () => {
    const wallets = { solana: await newPayer(), evm: await chain.newPayer(FUNDS) };
    const { status, payments } = await buy("both", path, wallets);
    assert.deepEqual([status, payments.length], [200, 1]);
    const left = [await solana.balance(wallets.solana.address), await chain.balance(wallets.evm.address)];
    assert.equal(left[0] + left[1], 2n * FUNDS - PRICE);
  });

  test(`${path}: who has neither has the client's own error, and sends no payment`, async () => {
    const { error, payments } = await buy("both", path, { solana: await newPayer() }, { onlyV1: true });
    assert.match(error, /No network\/scheme registered for x402 version: 1/);
    assert.deepEqual(payments, []);
  });
}

/** In front of the facilitator: answers to what is in `lost` get lost on their way. */
async function startFront(lost) {
  const front = createServer(async (request, response) => {
    const { method, url, headers } = request;
    const body = method === "POST" ? { headers: { "content-type": headers["content-type"] }, body: request } : {};
    const answer = await fetch(`${facilitator.url}${url}`, { method, duplex: "half", ...body });
    if (lost.has(url)) return response.destroy();
    return response.writeHead(answer.status, { "content-type": "application/json" }).end(await answer.text());
  });
  const port = await listen(front);
  started.push({ stop: () => front.close() });
  return `http://127.0.0.1:${port}`;
}

test("a settlement whose answer got lost is unknown, and the payment is not taken twice", async () => {
  const cut = await startFarebox("", await startFront(new Set(["/settle"])));
  const payer = await newPayer();
  const { status, settlement, payments } = await buy("both", "/before", { solana: payer }, { from: cut });
  assert.deepEqual([status, settlement.errorReason, payments.length], [503, "settlement_pending", 1]);
  const again = await fetch(`${cut.url}/before`, { headers: { "payment-signature": payments[0] } });
  assert.equal(again.status, 503);
  assert.equal((await solana.transfers(payer.address)).length, 1);
  assert.deepEqual(
    (await cut.payments()).map(({ state }) => state),
    ["unknown"],
  );
});

test("until the facilitator has said who pays the fees, nobody is asked to pay", { timeout: 60_000 }, async () => {
  const lost = new Set(["/supported"]);
  const early = await startFarebox("", await startFront(lost));
  const unpaid = await fetch(`${early.url}/before`);
  assert.deepEqual([unpaid.status, unpaid.headers.get("payment-required")], [503, null]);
  assert.notEqual(unpaid.headers.get("retry-after"), null);

  lost.clear();
  const asked = await until(
    () => fetch(`${early.url}/before`),
    ({ status }) => status === 402,
  );
  assert.equal(decode(asked.headers.get("payment-required")).accepts[0].extra.feePayer, feePayer.address);
});

/** Asks again, a little later each time, until the answer is the right one. The test's own time limit ends it. */
async function until(ask, isRight) {
  for (let wait = 10; ; wait *= 2) {
    const answer = await ask();
    if (isRight(answer)) return answer;
    await new Promise((done) => setTimeout(done, wait));
  }
}

function decode(header) {
  return JSON.parse(Buffer.from(header, "base64").toString());
}
