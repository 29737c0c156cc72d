// Compiles contracts/*.sol. What came out is kept for as long as the sources, the compiler and its settings stay the same.

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";

const SOURCES = new URL("contracts/", import.meta.url);
const KEPT = new URL("build/contracts.json", import.meta.url);
/** `evmVersion` is one that anvil and Base both run. */
const SETTINGS = {
  viaIR: true,
  optimizer: { enabled: true, runs: 200 },
  evmVersion: "cancun",
  outputSelection: { "*": { "*": ["abi", "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences"] } },
};

/** Every contract by name: its ABI and the code that stands on the chain, or none where only a constructor makes it. */
export async function compile() {
  const sources = await readSources();
  const inputs = createHash("sha256")
    .update(JSON.stringify([sources, SETTINGS, await solcVersion()]))
    .digest("hex");
  const kept = await readKept();
  if (kept?.inputs === inputs) return kept.contracts;
  const contracts = await build(sources);
  await keep({ inputs, contracts });
  return contracts;
}

async function readKept() {
  try {
    return JSON.parse(await readFile(KEPT, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Renamed into place: another run may be compiling at the same time. */
async function keep(compiled) {
  const draft = new URL(`${KEPT.href}.${process.pid}`);
  await mkdir(new URL(".", KEPT), { recursive: true });
  await writeFile(draft, JSON.stringify(compiled));
  await rename(draft, KEPT);
}

async function readSources() {
  const names = (await readdir(SOURCES)).filter((name) => name.endsWith(".sol")).sort();
  const read = async (name) => [name, { content: await readFile(new URL(name, SOURCES), "utf8") }];
  return Object.fromEntries(await Promise.all(names.map(read)));
}

async function solcVersion() {
  const description = new URL("node_modules/solc/package.json", import.meta.url);
  return JSON.parse(await readFile(description, "utf8")).version;
}

async function build(sources) {
  // Loaded here, because loading it takes longer than all the rest.
  const { default: solc } = await import("solc");
  const input = JSON.stringify({ language: "Solidity", sources, settings: SETTINGS });
  const output = JSON.parse(solc.compile(input));
  const complaints = output.errors ?? [];
  if (complaints.length > 0) throw new Error(complaints.map((complaint) => complaint.formattedMessage).join("\n"));
  const contracts = Object.values(output.contracts).flatMap(Object.entries);
  return Object.fromEntries(
    contracts.map(([name, { abi, evm }]) => [name, { abi, code: codeOf(evm.deployedBytecode) }]),
  );
}

/** Code with immutables has holes that only a constructor fills. */
function codeOf({ object, immutableReferences }) {
  const whole = object !== "" && Object.keys(immutableReferences ?? {}).length === 0;
  return whole ? `0x${object}` : null;
}
