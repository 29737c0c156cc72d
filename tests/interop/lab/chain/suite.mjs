// The suite on real chains: every client, in every x402 version that it speaks, at a place of its own.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { audit } from "../audit.mjs";
import { attempt } from "../outcome.mjs";
import { page, text } from "./page.mjs";
import { familyOf, startPlace } from "./place.mjs";
import { TABLES } from "./tables.mjs";
import { startWorld } from "./world.mjs";

/** Clients that are tried at the same time. Most of the time each waits for another process. */
const PLACES = 3;

/** What is asked of a place when all is done. */
const AUDIT = { name: "ledger: settled once, delivered" };

/**
 * Tries every client in every version that it speaks. `absent` has the parts that are not installed, with reasons, and
 * gets those that do not start. Gives rows, a text and a page.
 */
export async function tryChains({ farebox, clients, folder, absent }) {
  await mkdir(folder, { recursive: true });
  const world = await startWorld({ folder, absent });
  const rows = clients.flatMap((client) =>
    client.versions.map((version) => ({ client, version, outcomes: new Map() })));
  try {
    const waiting = [...rows];
    const work = async () => {
      for (let row = waiting.shift(); row; row = waiting.shift()) await tryRow(world, farebox, row);
    };
    await Promise.all(Array.from({ length: PLACES }, work));
  } finally {
    await world.stop();
  }
  return { rows, text: text(rows, TABLES), page: (lacking) => page(rows, TABLES, lacking) };
}

async function tryRow(world, farebox, row) {
  const { client, version, outcomes } = row;
  for (const promise of TABLES.flatMap(({ promises }) => promises)) {
    outcomes.set(promise, { mark: untried(world, row, promise) });
  }
  const tried = [...outcomes].filter(([, { mark }]) => mark === undefined).map(([promise]) => promise);
  if (tried.length === 0) return;
  const name = [client.folder, ...client.command.slice(1), `v${version}`].join("-");
  let place;
  const reached = await attempt(async () => {
    place = await startPlace(world, farebox, { client, version, name });
  });
  row.release = place?.process.version;
  for (const promise of tried) outcomes.set(promise, place ? await outcomeOf(place, promise) : reached);
  if (!place) return;
  outcomes.set(AUDIT, await attempt(() => audit(place.gateway)));
  await place.stop();
}

/** The mark of a promise that cannot be tried with a client; nothing for one that can. */
function untried(world, { client, version }, { needs, parts }) {
  if (needs && !needs({ client, version, family: familyOf(client) })) return "skipped";
  return world.lacks(client.part, ...parts) === undefined ? undefined : "absent";
}

async function outcomeOf(place, promise) {
  const outcome = await attempt(() => promise.keep(place));
  if (outcome.mark === "broken") {
    await writeFile(join(place.folder, `${promise.name.replaceAll(/\W+/g, "-")}.http`), place.relay.transcript());
    await attempt(() => place.restart());
  }
  return outcome;
}
