// The suite on real chains for a terminal and as a page: a table for each kind of promise, a row for each client and
// version.

import { readFile } from "node:fs/promises";

import { end, table } from "../markdown.mjs";
import { failures, MARKS, title, verdict } from "../outcome.mjs";
import { parts } from "../parts.mjs";

/** Made beside the recorded answers of reference sellers, by their own test. */
const DIFFERENCES = new URL("../../golden/differences.md", import.meta.url);

/** The tables for a terminal: columns are letters. */
export function text(rows, tables) {
  return tables.flatMap((one) => {
    const tried = concerned(rows, one);
    if (tried.length === 0) return [];
    const width = Math.max(...tried.map((row) => title(row).length));
    const line = (name, cells) => ["", name.padEnd(width), ...cells.map((cell) => cell.padEnd(6))].join(" ").trimEnd();
    const legend = one.promises.map(({ name }, index) => `  ${letter(index)}  ${name}`);
    const lines = tried.map((row) => line(title(row), marks(row, one)));
    return [one.title, ...legend, "", line("", one.promises.map((_, index) => letter(index))), ...lines].join("\n");
  }).join("\n\n");
}

/** The run as a page. `absent` are the parts that could not be had, with reasons. */
export async function page(rows, tables, absent) {
  const released = (await parts()).map(({ name, version, registry }) => [name, version, registry]);
  const clients = [...new Set(rows.map(({ client }) => client))].map((client) => [
    client.name,
    rows.find((row) => row.client === client).release ?? "?",
    client.registry,
    client.versions.map((version) => `v${version}`).join(", "),
  ]);
  return `# Farebox between other people's clients, facilitators and chains

Every client below pays routes of the built gateway with real money of chains on loopback: an EVM chain that has Base
Sepolia's id and a token with EIP-3009 where its USDC is, and a Solana ledger that has devnet's USDC. The money is moved
by facilitators of two makes. This page was written by

    tests/interop/run target/debug/farebox --markdown docs

A cell is \`ok\` if the client, its wire, the gateway's ledger and the chain said the same: what each promise checks
is in \`tests/interop/lab/chain/\`. \`-\`: the client has no such thing. A client that speaks both versions of x402
pays v1 where the terms of v2 are taken out of the answer on its way. At the end every client's gateway is stopped, and
its ledger says that all that was settled was settled once, and delivered.

${table(["client", "version", "registry", "x402"], clients)}

${table(["chain or facilitator", "version", "registry"], released)}

${tables.map((one) => section(rows, one)).join("\n")}
${await differences()}${end(failures(rows), verdict(rows, absent))}
`;
}

function section(rows, one) {
  const name = ({ client, release, version }) => `${client.name} ${release ?? "?"}, v${version}`;
  const lines = concerned(rows, one).map((row) => [name(row), ...marks(row, one)]);
  const said = one.promises.filter(({ says }) => says).map(({ name, says }) => `- **${name}**: ${says}`);
  return `## ${one.title}

${[one.says, "", ...(said.length > 0 ? [...said, ""] : [])].join("\n")}
${table(["client", ...one.promises.map(({ name }) => name)], lines)}
`;
}

/** The rows to which at least one promise of the table applies. */
function concerned(rows, { promises }) {
  return rows.filter(({ outcomes }) => promises.some((promise) => outcomes.get(promise)?.mark !== "skipped"));
}

function marks({ outcomes }, { promises }) {
  return promises.map((promise) => MARKS[outcomes.get(promise)?.mark] ?? "");
}

function letter(index) {
  return String.fromCharCode("a".charCodeAt(0) + index);
}

async function differences() {
  try {
    return `## Beside reference sellers\n\n${(await readFile(DIFFERENCES, "utf8")).trim()}\n\n`;
  } catch (error) {
    if (error.code === "ENOENT") return "";
    throw error;
  }
}
