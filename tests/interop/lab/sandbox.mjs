// The suite on the gateway's own sandbox facilitator: every client keeps every promise, then the ledger is audited.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { audit } from "./audit.mjs";
import { Bench } from "./bench.mjs";
import { startClient } from "./client.mjs";
import { startGateway } from "./gateway.mjs";
import { attempt } from "./outcome.mjs";
import { PROMISES } from "./promises.mjs";
import { startRelay } from "./relay.mjs";
import * as table from "./table.mjs";
import { startUpstream } from "./upstream.mjs";

const AUDIT = { name: "ledger: settled once, delivered" };

/** Tries every client that pays on EVM, in the version that it prefers. Gives rows, a text and a page. */
export async function trySandbox({ farebox, clients, folder, absent }) {
  const upstream = await startUpstream();
  const gateway = await startGateway(farebox, folder, "gateway.toml", { LAB_UPSTREAM: upstream.address });
  const rows = [];
  try {
    for (const client of clients.filter(({ families }) => !families || families.includes("evm"))) {
      rows.push(await tryClient(client, { gateway, folder, absent }));
    }
    // It is everybody's: it stands with the first of those who have paid.
    const payer = rows.find(({ release }) => release !== undefined);
    payer?.outcomes.set(AUDIT, await attempt(() => audit(gateway)));
  } finally {
    await gateway.stop();
    upstream.stop();
  }
  const promises = [...PROMISES, AUDIT];
  return { rows, text: table.text(rows, promises), page: (lacking) => table.page(rows, promises, lacking) };
}

/** All promises with one client. A client that hangs or dies is started again for the next promise. */
async function tryClient(client, { gateway, folder, absent }) {
  const row = { client, version: client.versions[0], outcomes: new Map() };
  const relay = await startRelay(gateway.port);
  let process_;
  for (const promise of PROMISES) {
    const { name, needs, keep } = promise;
    if (absent.has(client.part) || (needs && !needs(client))) {
      row.outcomes.set(promise, { mark: absent.has(client.part) ? "absent" : "skipped" });
      continue;
    }
    const file = `${client.folder}-${client.command.at(-1)}`.replaceAll("/", "-");
    const outcome = await attempt(async () => {
      process_ ??= await startClient({ ...client, folder: client.home }, join(folder, `${file}.log`));
      row.release = process_.version;
      await keep(new Bench(client, process_, relay, gateway));
    });
    if (outcome.mark === "broken") {
      await writeFile(join(folder, `${file} ${name.replaceAll(/\W+/g, "-")}.http`), relay.transcript());
      await process_?.stop();
      process_ = undefined;
    }
    row.outcomes.set(promise, outcome);
  }
  await process_?.stop();
  relay.stop();
  return row;
}
