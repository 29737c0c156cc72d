// The run: both suites, what they say, and whether the pages in docs/ still say the same.

import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { survivors } from "../chain/guarded.mjs";
import { tryChains } from "./chain/suite.mjs";
import { CLIENTS } from "./clients.mjs";
import { count, failures, verdict } from "./outcome.mjs";
import { absentParts } from "./parts.mjs";
import { trySandbox } from "./sandbox.mjs";

const DOCS = fileURLToPath(new URL("../../../docs/", import.meta.url));
const SUITES = {
  sandbox: { run: trySandbox, file: "sdk-run.md" },
  chain: { run: tryChains, file: "interop.md" },
};

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    installed: { type: "string" },
    suite: { type: "string", default: "all" },
    only: { type: "string", default: "" },
    keep: { type: "boolean" },
    markdown: { type: "string" },
  },
});
const farebox = resolve(positionals[0]);
const suites = Object.entries(SUITES).filter(([name]) => [name, "all"].includes(options.suite));
if (suites.length === 0) stop(`there is no suite "${options.suite}"`);
const clients = CLIENTS.filter(({ name, folder }) => `${folder} ${name}`.includes(options.only)).map((client) => ({
  part: `clients/${client.folder}`,
  ...client,
  home: join(options.installed, client.folder),
}));
if (clients.length === 0) stop(`no client's folder and name contain "${options.only}"`);

const folder = await mkdtemp(join(tmpdir(), "farebox-interop-"));
const absent = await absentParts(options.installed);
let tried = 0;
let failed = false;
for (const [name, { run, file }] of suites) {
  await trySuite(name, run, file);
}
if (tried === 0) {
  console.log("FAILED: nothing could be tried");
  failed = true;
}
if (absent.size > 0 && process.env.CI) {
  console.log("FAILED: with CI set, no part may be absent");
  failed = true;
}
if (survivors().length > 0) {
  console.log(`FAILED: processes are left over, in the groups ${survivors()}`);
  failed = true;
}
if (options.keep || failed) {
  console.log(`The configs, the ledgers, the logs and the failed transcripts are in ${folder}`);
} else {
  await rm(folder, { recursive: true });
}
process.exit(failed ? 1 : 0);

async function trySuite(name, run, file) {
  const own = join(folder, name);
  await mkdir(own);
  const begun = Date.now();
  const { rows, text, page } = await run({ farebox, clients, folder: own, absent });
  const seconds = Math.round((Date.now() - begun) / 1000);
  console.log(`${text}\n`);
  failures(rows).forEach((line) => console.log(line));
  const { kept, broken } = count(rows);
  tried += kept + broken;
  failed ||= broken > 0;
  const fresh = await page(absent);
  if (options.markdown) {
    await writeFile(join(options.markdown, file), fresh);
  } else if (options.only === "" && absent.size === 0 && broken === 0) {
    await compare(file, fresh);
  }
  console.log(`${name}: ${verdict(rows, absent)} in ${seconds} s\n`);
}

/** The page that is kept is the one that this run makes. */
async function compare(file, fresh) {
  const kept = join(DOCS, file);
  if (fresh === (await readFile(kept, "utf8"))) return;
  const made = join(folder, file);
  await writeFile(made, fresh);
  console.log(`FAILED: docs/${file} is not what this run makes; --markdown docs writes it`);
  spawnSync("diff", ["-u", kept, made], { stdio: "inherit" });
  failed = true;
}

function stop(message) {
  console.error(message);
  process.exit(2);
}
