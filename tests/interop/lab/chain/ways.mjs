// Routes with two ways to pay: every client takes the one that it can.

import assert from "node:assert/strict";

import { pays } from "./checks.mjs";
import { FACILITATORS, SETTLE_MODES } from "./matrix.mjs";

/** What every v1 client can read: one other name, and some of them refuse the whole list. */
const KNOWN_V1 = { networks: ["base-sepolia"], schemes: ["exact"] };

const ORDERS = { "EVM first": "evm-first", "Solana first": "solana-first" };

/** In every settle mode, through each facilitator of the EVM way. */
export const WAYS = Object.entries(FACILITATORS)
  .filter(([, { family }]) => family === "evm")
  .flatMap(([folder, { title }]) =>
    Object.entries(ORDERS).flatMap(([order, path]) =>
      SETTLE_MODES.map((mode) => way(`${order}, ${title}, ${mode}`, folder, `/${path}/${folder}/${mode}`)),
    ),
  );

function way(name, folder, target) {
  return {
    name,
    parts: [`facilitators/${folder}`, "facilitators/svm"],
    needs: ({ family, version }) => family === "evm" || version === 2,
    async keep(place) {
      await pays(place, "GET", target);
      for (const { v2, v1 } of place.relay.terms()) {
        assert.deepEqual(v2.accepts.map(({ network }) => network.split(":")[0]).sort(), ["eip155", "solana"]);
        for (const { network, scheme } of v1.accepts) {
          assert.ok(KNOWN_V1.networks.includes(network) && KNOWN_V1.schemes.includes(scheme), `${scheme} ${network}`);
        }
      }
    },
  };
}
