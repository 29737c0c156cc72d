// The run: every client keeps every promise, then the ledger is audited.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { Bench } from "./bench.mjs";
import { startClient } from "./client.mjs";
import { CLIENTS } from "./clients.mjs";
import { startGateway } from "./gateway.mjs";
import { PROMISES } from "./promises.mjs";
import { startRelay } from "./relay.mjs";
import * as table from "./table.mjs";
import { startUpstream } from "./upstream.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    clients: { type: "string" },
    only: { type: "string" },
    keep: { type: "boolean" },
    markdown: { type: "string" },
  },
});
const farebox = resolve(positionals[0]);
const clients = CLIENTS.filter(({ name, folder }) => `${folder} ${name}`.includes(options.only ?? ""));
if (clients.length === 0) {
  console.error(`no client's folder and name contain "${options.only}"`);
  process.exit(2);
}
const folder = await mkdtemp(join(tmpdir(), "farebox-interop-"));

const upstream = await startUpstream();
const gateway = await startGateway(farebox, folder, upstream.address);
const results = [];
for (const client of clients) {
  results.push(await tryClient(client));
}
const audit = await attempt(auditLedger);
upstream.stop();

console.log(`${table.text(results, PROMISES)}\n`);
const { kept, broken } = table.count(results, audit);
table.failures(results, audit).forEach((line) => console.log(line));
if (options.markdown) {
  await writeFile(options.markdown, table.page(results, PROMISES, audit));
}
if (options.keep || broken > 0) {
  console.log(`The config, the ledger, the logs and the failed transcripts are in ${folder}`);
} else {
  await rm(folder, { recursive: true });
}
console.log(table.verdict(results, audit));
process.exit(broken > 0 || kept === 0 ? 1 : 0);

/** All promises with one client. A client that hangs or dies is started again for the next promise. */
async function tryClient(client) {
  const result = { client, outcomes: new Map() };
  const relay = await startRelay(gateway.port);
  let process_;
  for (const { name, needs, keep } of PROMISES) {
    if (needs && !needs(client)) {
      result.outcomes.set(name, { mark: "skipped" });
      continue;
    }
    const file = `${client.folder}-${client.command.at(-1)}`;
    const outcome = await attempt(async () => {
      process_ ??= await startClient(
        { ...client, folder: join(options.clients, client.folder) },
        join(folder, `${file}.log`),
      );
      result.version = process_.version;
      await keep(new Bench(client, process_, relay, gateway));
    });
    if (outcome.mark === "broken") {
      await writeFile(join(folder, `${file} ${name.replaceAll(/\W+/g, "-")}.http`), relay.transcript());
      await process_?.stop();
      process_ = undefined;
    }
    result.outcomes.set(name, outcome);
  }
  await process_?.stop();
  relay.stop();
  return result;
}

async function attempt(step) {
  try {
    await step();
    return { mark: "kept" };
  } catch (error) {
    return { mark: "broken", error };
  }
}

/** Delivery is written after the last byte has left: it is certain when the gateway has ended. */
async function auditLedger() {
  assert.equal(await gateway.stop(), 0, "the gateway's exit code");
  const rows = await gateway.payments();
  const settled = rows.filter(({ state }) => state === "settled");
  assert.ok(settled.length > 0, "there are settled payments");
  const undelivered = settled.filter(({ delivered_at }) => !delivered_at).map(({ route, id }) => `${route} ${id}`);
  assert.equal(undelivered.length, 0, `settled, and not delivered: ${undelivered}`);
  assert.equal(new Set(settled.map(({ transaction }) => transaction)).size, settled.length, "one transaction each");
}
