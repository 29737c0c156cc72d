// The parts of the lab by name, as `run` has installed them: which are absent, and the versions in their lock files.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

const LOCKS = new URL("../", import.meta.url);

/** The parts that could not be installed, each with a reason: what its installer has said last. */
export async function absentParts(installed) {
  const notes = join(installed, "absent");
  const entries = await readdir(notes, { recursive: true, withFileTypes: true }).catch((error) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  const reasons = files.map(async (file) => {
    const lines = (await readFile(file, "utf8")).trim().split("\n");
    return [file.slice(notes.length + 1), lines.at(-1) || "its installer failed"];
  });
  return new Map(await Promise.all(reasons));
}

/** What the chains and facilitators are: `{name, version, registry}` each. */
export async function parts() {
  const [chain, ts, svm, solana, rs] = await Promise.all([
    npmLock("chain"),
    npmLock("facilitators/ts"),
    npmLock("facilitators/svm"),
    npmLock("solana"),
    readFile(new URL("rs/Cargo.lock", LOCKS), "utf8"),
  ]);
  const npm = (name, version) => ({ name, version, registry: "npm" });
  const crate = (name) => ({ name, version: crateVersion(rs, name), registry: "crates.io" });
  return [
    npm("anvil, the EVM chain", chain("@foundry-rs/anvil-linux-amd64")),
    npm("solc, for its contracts", chain("solc")),
    npm("litesvm, the Solana ledger", solana("litesvm")),
    npm("@x402/core, of the official facilitators", ts("@x402/core")),
    npm("@x402/evm, of the one for EVM", ts("@x402/evm")),
    npm("@x402/svm, of the one for Solana", svm("@x402/svm")),
    crate("x402-facilitator-local"),
    crate("x402-chain-eip155"),
  ];
}

async function npmLock(folder) {
  const { packages } = JSON.parse(await readFile(new URL(`${folder}/package-lock.json`, LOCKS), "utf8"));
  return (name) => packages[`node_modules/${name}`].version;
}

function crateVersion(lock, name) {
  const version = lock.match(new RegExp(`^name = "${name}"\nversion = "(.+)"$`, "m"))?.[1];
  if (version === undefined) throw new Error(`rs/Cargo.lock does not have ${name}`);
  return version;
}
