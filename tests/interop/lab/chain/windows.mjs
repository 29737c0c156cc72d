// One payment opens a route for a while: what comes after it costs nothing, which is to be seen on the chain.

import assert from "node:assert/strict";

import { FUNDS, movedNothing, movedOnce, pays } from "./checks.mjs";

export const WINDOWS = [
  {
    name: "by cookie",
    parts: ["facilitators/ts"],
    needs: ({ family, client }) => family === "evm" && client.cookies,
    async keep(place) {
      const { payer } = await pays(place, "GET", "/window");
      rode(place, await place.ask(payer, "GET", "/window"));
      await movedOnce(place, payer);
    },
  },
  {
    name: "by pass",
    parts: ["facilitators/ts"],
    needs: ({ family }) => family === "evm",
    async keep(place) {
      const { answer, payer } = await pays(place, "GET", "/window");
      assert.ok(answer.pass, "the client finds a pass");
      // Another payer, and so nothing else that the client might remember.
      const other = await place.money.newPayer(FUNDS);
      rode(place, await place.ask(other, "GET", "/window", { headers: { "farebox-pass": answer.pass } }));
      await movedOnce(place, payer);
      await movedNothing(other, place.money);
    },
  },
];

function rode(place, { answer }) {
  assert.equal(answer.error, undefined);
  assert.equal(answer.status, 200);
  assert.deepEqual(place.sent(), ["GET unpaid"]);
}
