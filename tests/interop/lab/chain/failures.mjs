// What goes wrong as clients see it: each is told, nobody pays twice, and the chain agrees.

import assert from "node:assert/strict";

import { FUNDS, movedNothing, movedOnce, onePayment, pays, PRICE, signedOnce, toldSo } from "./checks.mjs";
import { FACILITATORS, SETTLE_MODES } from "./matrix.mjs";

const JUDGES = Object.entries(FACILITATORS).filter(([, { family }]) => family === "evm");
const EXPIRED = "invalid_exact_evm_payload_authorization_valid_before";
const USED = "invalid_exact_evm_nonce_already_used";

export const FAILURES = [
  ...judged("too little money", "less than the price is there", "", async (place, target) => {
    const payer = await place.money.newPayer(PRICE - 1n);
    refused(place, await place.ask(payer, "GET", target), ["insufficient_funds"]);
    await movedNothing(payer, place.money, PRICE - 1n);
  }),
  ...judged("expired", "on a chain that is an hour ahead", "/late", async (place, target) => {
    const { late } = place.world.money;
    const payer = await late.newPayer(FUNDS);
    // The official one does not say what a transfer fails for that it has only tried.
    refused(place, await place.ask(payer, "GET", target), [EXPIRED, "unexpected_verify_error"]);
    await movedNothing(payer, late);
  }),
  ...judged("used nonce", "somebody else has used the authorization: nothing else moves", "", async (place, target) => {
    const payer = await place.money.newPayer(FUNDS);
    const payment = ({ payload }) => place.money.spend(payload);
    const asked = await place.ask(payer, "GET", target, { meddle: { payment } });
    refused(place, asked, [USED]);
    assert.equal((await place.money.moved(payer.address)).length, asked.payments.length, "what has moved");
  }),
  {
    ...ofEvm("expired when it comes"),
    says: "signed for one second, where the facilitator needs six",
    async keep(place) {
      const meddle = signedFor({ maxTimeoutSeconds: 1 });
      await refusedUnmoved(place, meddle, [EXPIRED]);
    },
  },
  {
    ...ofEvm("wrong amount"),
    says: "signed for less than the price",
    async keep(place) {
      const meddle = signedFor({ amount: "1", maxAmountRequired: "1" });
      await refusedUnmoved(place, meddle, ["invalid_exact_evm_payload_authorization_value_mismatch"]);
    },
  },
  {
    ...ofEvm("replay"),
    says: "a payment that has been settled comes again: on its route, on another, and on one of another facilitator",
    async keep(place) {
      const { payer, payments } = await pays(place, "GET", "/ts/on-success");
      const meddle = { payment: (payment) => Object.assign(payment, payments[0]) };
      for (const target of ["/ts/on-success", "/any/other", "/rs/on-success"]) {
        refused(place, await place.ask(payer, "GET", target, { meddle }), [USED]);
        await movedOnce(place, payer);
      }
    },
  },
  {
    ...ofEvm("facilitator down"),
    says: "nobody listens at its address",
    keep: inModes("/down", async (place, target) => {
      const payer = await place.money.newPayer(FUNDS);
      unavailable(place, await place.ask(payer, "GET", target));
      await movedNothing(payer, place.money);
    }),
  },
  {
    ...ofEvm("facilitator dies"),
    says: "between the terms and the payment; when it is back, the same payment is taken",
    keep: inModes("/door", async (place, target) => {
      const payer = await place.money.newPayer(FUNDS);
      const asked = await place.ask(payer, "GET", target, { meddle: { payment: () => place.door.shut() } });
      await place.door.open();
      unavailable(place, asked);
      await movedNothing(payer, place.money);
      assert.equal((await place.repeat(asked.raw.at(-1), target)).status, 200);
      await movedOnce(place, payer);
    }),
  },
  {
    ...ofEvm("facilitator hangs"),
    says: "it moves the money and never says so; the same payment is then served, and moves nothing more",
    keep: inModes("/door", async (place, target) => {
      const payer = await place.money.newPayer(FUNDS);
      place.door.silent = "/settle";
      const asked = await place.ask(payer, "GET", target);
      toldSo(place, asked, 503, ["settlement_pending"]);
      signedOnce(place, asked);
      await movedOnce(place, payer);
      place.door.silent = undefined;
      const again = await place.repeat(asked.raw.at(-1), target);
      assert.equal(again.status, 200, `the same payment again: ${again.body}`);
      await movedOnce(place, payer);
    }),
  },
  {
    ...ofEvm("backend fails"),
    says: "it answers 500, and nothing is charged",
    async keep(place) {
      const payer = await place.money.newPayer(FUNDS);
      const { answer } = await place.ask(payer, "GET", "/broken");
      assert.equal(answer.error, undefined);
      assert.equal(answer.status, 500);
      assert.ok(!answer.settlement, "nothing was settled");
      assert.deepEqual(place.sent(), onePayment(place, "GET"));
      await movedNothing(payer, place.money);
    },
  },
];

function ofEvm(name, facilitator = "ts") {
  return { name, parts: [`facilitators/${facilitator}`], needs: ({ family }) => family === "evm" };
}

/** A failure that a facilitator finds, in /verify or in /settle: one promise for each facilitator. */
function judged(name, says, path, keep) {
  return JUDGES.map(([facilitator, { title }]) => ({
    ...ofEvm(`${name}, ${title}`, facilitator),
    says,
    keep: inModes(`/${facilitator}${path}`, keep),
  }));
}

/** Tries the same on the route of each settle mode. */
function inModes(prefix, keep) {
  return async (place) => {
    for (const mode of SETTLE_MODES) {
      await keep(place, `${prefix}/${mode}`).catch((error) => {
        error.message = `${prefix}/${mode}: ${error.message}`;
        throw error;
      });
    }
  };
}

/** Has the client sign for other terms than the gateway has shown, and the gateway find its own in the payment. */
function signedFor(changes) {
  const shown = {};
  return {
    offer(offer) {
      for (const [key, value] of Object.entries(changes)) {
        if (key in offer) {
          shown[key] = offer[key];
          offer[key] = value;
        }
      }
    },
    payment({ accepted }) {
      for (const key of Object.keys(changes)) {
        if (accepted && key in accepted) accepted[key] = shown[key];
      }
    },
  };
}

async function refusedUnmoved(place, meddle, reasons) {
  const payer = await place.money.newPayer(FUNDS);
  refused(place, await place.ask(payer, "GET", "/ts/on-success", { meddle }), reasons);
  await movedNothing(payer, place.money);
}

function refused(place, asked, reasons) {
  toldSo(place, asked, 402, reasons);
  signedOnce(place, asked);
}

function unavailable(place, asked) {
  assert.equal(asked.answer.error, undefined);
  assert.equal(asked.answer.status, 503, asked.answer.body);
  assert.equal(JSON.parse(asked.answer.body).error, "facilitator_unavailable");
  signedOnce(place, asked);
}
