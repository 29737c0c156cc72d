// Every client pays through every facilitator in every settle mode.

import { pays, reachedBackend } from "./checks.mjs";

/** By the folder of each: its family of networks, and its name in the tables. */
export const FACILITATORS = {
  ts: { family: "evm", title: "official" },
  rs: { family: "evm", title: "x402-rs" },
  svm: { family: "solana", title: "official" },
};

export const SETTLE_MODES = ["on-success", "before", "overlap"];

/** The last one is `on-success` with the gateway's own checks instead of the facilitator's. */
const MODES = [...SETTLE_MODES, "local"];

function cells(wanted) {
  const facilitators = Object.entries(FACILITATORS).filter(([, { family }]) => family === wanted);
  return facilitators.flatMap(([folder, { family, title }]) =>
    MODES.map((mode) => ({
      name: `${title}, ${mode}`,
      parts: [`facilitators/${folder}`],
      needs: (place) => place.family === family,
      async keep(place) {
        const target = `/${folder}/${mode}`;
        const { answer, row } = await pays(place, "GET", target);
        reachedBackend(JSON.parse(answer.body), { method: "GET", target }, row);
      },
    })),
  );
}

export const EVM = cells("evm");
export const SOLANA = cells("solana");
