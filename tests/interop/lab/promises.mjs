// What the gateway promises every client. A promise is kept or throws.

import assert from "node:assert/strict";

import { reasonOf } from "./settlement.mjs";

const CENT = "10000";
/** CAIP-2 names of the networks in gateway.toml by their v1 names. */
const CAIP2 = { "base-sepolia": "eip155:84532", polygon: "eip155:137" };

/**
 * - `name`: in the table.
 * - `needs`: which clients it can be tried with; left out for all.
 * - `keep`: tries it with a [`Bench`] (see lab/main.mjs).
 */
export const PROMISES = [
  {
    name: "free route: no payment",
    // Who may read what is free is the backend's business alone.
    needs: ({ browser }) => !browser,
    async keep(bench) {
      const { answer } = await bench.ask("GET", "/free");
      assert.equal(answer.status, 200);
      assert.deepEqual(bench.sent(), ["GET unpaid"]);
    },
  },
  { name: "pays, settled on success", keep: (bench) => pays(bench, "GET", "/on-success/weather") },
  { name: "pays, verified locally", keep: (bench) => pays(bench, "GET", "/on-success-local") },
  { name: "pays, settled before", keep: (bench) => pays(bench, "GET", "/before") },
  { name: "pays, settled meanwhile", keep: (bench) => pays(bench, "GET", "/overlap") },
  {
    name: "pays for a query and an escaped path",
    keep: (bench) => pays(bench, "GET", "/on-success/a%20b%C3%BC?q=x%20y&q=%26&empty"),
  },
  {
    name: "pays for a POST, body intact",
    keep: (bench) => pays(bench, "POST", "/on-success/orders", '{"city":"Zürich","n":[1,2]}'),
  },
  {
    name: "pays for an upload of 5 MB",
    async keep(bench) {
      // The challenge comes while the client still sends: it must be able to read it all the same.
      const body = JSON.stringify({ upload: "x".repeat(5_000_000) });
      const answer = await bench.askDirectly("POST", "/on-success/uploads", body);
      assert.equal(answer.error, undefined);
      assert.equal(answer.status, 200);
      const rows = await bench.gateway.payments(answer.settlement.payer);
      assert.deepEqual(rows.map((row) => row.state), ["settled"]);
      reachedBackend(JSON.parse(answer.body), { method: "POST", target: "/on-success/uploads", body }, rows[0]);
    },
  },
  {
    name: "pays for a HEAD",
    // The terms of v1 are in the body, which a HEAD has not.
    needs: ({ versions }) => versions[0] === 2,
    keep: (bench) => pays(bench, "HEAD", "/on-success/weather"),
  },
  { name: "pays one of several ways", keep: (bench) => pays(bench, "GET", "/several-ways") },
  { name: "pays one of several ways of v1", keep: (bench) => pays(bench, "GET", "/several-ways-v1") },
  {
    name: "rides the window by pass",
    async keep(bench) {
      const { answer: paid, payer } = await pays(bench, "GET", "/window");
      assert.ok(paid.pass, "the client finds a pass");
      // Another key, and so nothing else that the client might remember.
      const { answer } = await bench.ask("GET", "/window", undefined, { "farebox-pass": paid.pass });
      await rode(bench, answer, payer);
    },
  },
  {
    name: "rides the window by cookie",
    needs: ({ cookies }) => cookies,
    async keep(bench) {
      const { payer } = await pays(bench, "GET", "/window");
      const { answer } = await bench.again("GET", "/window");
      await rode(bench, answer, payer);
    },
  },
  {
    name: "too dear: signs nothing",
    needs: ({ limit }) => limit,
    async keep(bench) {
      const { answer } = await bench.ask("GET", "/dear");
      assert.match(answer.error ?? "no error", bench.client.limit);
      assert.deepEqual(bench.sent(), ["GET unpaid"]);
    },
  },
  { name: "cannot pay: told so, pays once", keep: (bench) => refused(bench, "/poor", "insufficient_funds") },
  { name: "settlement fails: told so, pays once", keep: (bench) => refused(bench, "/refusing", "unexpected_settle_error") },
  {
    name: "outcome unknown: 503, then the same payment",
    async keep(bench) {
      const { answer, payments, payer } = await bench.ask("GET", "/silent");
      assert.equal(answer.error, undefined);
      assert.equal(answer.status, 503);
      assert.equal(reasonOf(bench.client, answer), "settlement_pending");
      assert.equal(payments.length, 1, "one payment was signed");
      const again = await bench.repeat("/silent");
      assert.equal(again.status, 200, again.body);
      assert.deepEqual((await bench.gateway.payments(payer)).map((row) => row.state), ["settled"]);
    },
  },
  {
    name: "backend fails: nothing is charged",
    async keep(bench) {
      const { answer, rows } = await bench.ask("GET", "/broken");
      assert.equal(answer.error, undefined);
      assert.equal(answer.status, 500);
      assert.ok(!answer.settlement, "nothing was settled");
      assert.deepEqual(bench.sent(), onePayment(bench, "GET"));
      assert.deepEqual(rows.filter((row) => row.state === "settled"), []);
    },
  },
];

/** One unpaid request, one paid one, one settled row, and an answer that says all that. */
async function pays(bench, method, target, body) {
  const asked = await bench.ask(method, target, body);
  const { answer, payments, payer, rows } = asked;
  assert.equal(answer.error, undefined);
  assert.equal(answer.status, 200);
  assert.deepEqual(bench.sent(), onePayment(bench, method));

  const [payment] = payments;
  const network = payment.accepted?.network ?? payment.network;
  assert.equal(payment.x402Version, bench.client.versions[0]);
  assert.ok(answer.settlement, "the client finds a settlement");
  const { success, transaction } = answer.settlement;
  assert.deepEqual({ success, network: answer.settlement.network }, { success: true, network });
  assert.equal(answer.settlement.payer.toLowerCase(), payer.toLowerCase());

  assert.equal(rows.length, 1, "one payment, one row");
  const [row] = rows;
  assert.deepEqual(
    { state: row.state, amount: row.amount, network: row.network, transaction: row.transaction },
    { state: "settled", amount: CENT, network: CAIP2[network] ?? network, transaction },
  );
  if (method !== "HEAD") reachedBackend(JSON.parse(answer.body), { method, target, body }, row);
  return asked;
}

/** What a client sends that pays once. */
function onePayment({ client }, method) {
  return [...Array(client.unpaid ?? 1).fill(`${method} unpaid`), `${method} paid`];
}

/** The backend was asked what the client asked, knows who paid, and has no payment to keep. */
function reachedBackend({ method, url, sent, headers }, asked, row) {
  assert.deepEqual({ method, target: url }, { method: asked.method, target: asked.target });
  assert.ok(sent === (asked.body ?? ""), `the backend got ${sent.length} characters of another body`);
  assert.equal(headers["farebox-payer"]?.toLowerCase(), row.payer.toLowerCase());
  assert.equal(headers["farebox-payment-id"], row.id);
  assert.equal(headers["x-payment"] ?? headers["payment-signature"], undefined);
}

/** A request that cost nothing: no payment was sent, and the ledger has one row of the payer still. */
async function rode(bench, answer, payer) {
  assert.equal(answer.error, undefined);
  assert.equal(answer.status, 200);
  assert.deepEqual(bench.sent(), ["GET unpaid"]);
  assert.equal((await bench.gateway.payments(payer)).length, 1);
}

async function refused(bench, target, reason) {
  const { answer, rows } = await bench.ask("GET", target);
  assert.equal(answer.error, undefined);
  assert.equal(answer.status, 402);
  assert.equal(reasonOf(bench.client, answer), reason);
  if (!bench.client.persists) assert.deepEqual(bench.sent(), onePayment(bench, "GET"));
  assert.deepEqual(rows.filter((row) => row.state !== "failed"), []);
}
