// What is asked of every payment: the client, the wire, the ledger and the chain say the same.

import assert from "node:assert/strict";

import { reasonOf } from "../settlement.mjs";

export const PRICE = 10_000n;
export const FUNDS = 1_000_000n;

/** Pays `target` once with a new payer, and checks all that there is to check. Gives what was asked, and the payer. */
export async function pays(place, method, target, options) {
  const payer = await place.money.newPayer(FUNDS);
  const earned = await place.money.balance(place.seller);
  const asked = await place.ask(payer, method, target, options);
  assert.equal(asked.answer.error, undefined);
  assert.equal(asked.answer.status, 200, asked.answer.body);
  assert.deepEqual(place.sent(), onePayment(place, method));
  const [payment] = asked.payments;
  const network = place.money.networks[place.version];
  assert.equal(payment.x402Version, place.version);
  assert.equal(payment.accepted?.network ?? payment.network, network);

  const moved = await movedOnce(place, payer);
  assert.equal(await place.money.balance(place.seller), earned + PRICE, "what the seller has earned");
  const { settlement } = asked.answer;
  assert.ok(settlement, "the client finds a settlement");
  assert.deepEqual(
    [settlement.success, settlement.network, settlement.transaction, settlement.payer.toLowerCase()],
    [true, network, moved.transaction, payer.address.toLowerCase()],
  );
  const rows = await place.gateway.payments(payer.address);
  assert.deepEqual(
    rows.map(({ state, amount, network, transaction }) => ({ state, amount, network, transaction })),
    [{ state: "settled", amount: String(PRICE), network: place.money.networks[2], transaction: moved.transaction }],
  );
  return { ...asked, payer, row: rows[0] };
}

/** The chain says that exactly the price has gone from the payer to the seller, once. Gives that. */
export async function movedOnce(place, payer) {
  const { money, seller } = place;
  const moved = await money.moved(payer.address);
  assert.deepEqual(moved.map(({ to, amount }) => [to, amount]), [[seller, PRICE]], "what the payer has paid");
  assert.equal(await money.balance(payer.address), FUNDS - PRICE, "what the payer has left");
  return moved[0];
}

/** The chain says that nothing has gone from the payer. */
export async function movedNothing(payer, money, funds = FUNDS) {
  assert.deepEqual(await money.moved(payer.address), [], "what the payer has paid");
  assert.equal(await money.balance(payer.address), funds, "what the payer has left");
}

/** The backend was asked what the client asked, knows who paid, and has no payment to keep. */
export function reachedBackend({ method, url, sent, headers }, asked, row) {
  assert.deepEqual([method, url, sent], [asked.method, asked.target, asked.body ?? ""]);
  assert.equal(headers["farebox-payer"]?.toLowerCase(), row.payer.toLowerCase());
  assert.equal(headers["farebox-payment-id"], row.id);
  assert.equal(headers["x-payment"] ?? headers["payment-signature"], undefined);
}

/** What a client sends that pays once. */
export function onePayment({ client }, method) {
  return [...Array(client.unpaid ?? 1).fill(`${method} unpaid`), `${method} paid`];
}

/** No second payment was signed, but by a client that always signs anew when it is refused. */
export function signedOnce({ client }, { payments }) {
  assert.ok(payments.length > 0, "a payment was sent");
  if (!client.persists) assert.equal(payments.length, 1, "payments that were signed");
}

/** The client has the status, and finds one of these reasons. */
export function toldSo({ client }, { answer }, status, reasons) {
  assert.equal(answer.error, undefined);
  assert.equal(answer.status, status, answer.body);
  const reason = reasonOf(client, answer);
  assert.ok(reasons.includes(reason), `the reason is ${reason}, and none of ${reasons}`);
}
