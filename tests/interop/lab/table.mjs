// The sandbox suite for a terminal and as a page: clients as columns would be too wide, they are letters.

import { failures, MARKS, title, verdict } from "./outcome.mjs";
import { end, table } from "./markdown.mjs";

/** The table for a terminal. */
export function text(rows, promises) {
  const legend = rows.map((row, index) => `  ${letter(index)}  ${title(row)}`);
  const width = Math.max(...promises.map(({ name }) => name.length));
  const line = (name, cells) => ["", name.padEnd(width), ...cells.map((cell) => cell.padEnd(6))].join(" ").trimEnd();
  const lines = promises.map((promise) => line(promise.name, marks(rows, promise)));
  return [...legend, "", line("", rows.map((_, index) => letter(index))), ...lines].join("\n");
}

/** The run as a page. */
export function page(rows, promises, absent) {
  const clients = rows.map(({ client, release, version }, index) =>
    [letter(index), client.name, release ?? "?", client.registry, `v${version}`]);
  const kept = promises.map((promise) => [promise.name, ...marks(rows, promise)]);
  return `# Official x402 clients against Farebox

Clients from npm and PyPI pay routes of the built gateway through its sandbox facilitator. On real chains, through
facilitators of others: [interop.md](interop.md). This page was written by

    tests/interop/run target/debug/farebox --markdown docs

${table(["", "client", "version", "registry", "pays as"], clients)}

${table(["promise", ...rows.map((_, index) => letter(index))], kept)}

\`-\`: the client has no such thing: a spending limit of its own, a cookie jar, or (v1) terms in the answer to a HEAD.
"Browser rules" is the same client behind a browser's CORS rules. What each promise checks:
\`tests/interop/lab/promises.mjs\`.

${end(failures(rows), verdict(rows, absent))}
`;
}

function marks(rows, promise) {
  return rows.map(({ outcomes }) => MARKS[outcomes.get(promise)?.mark] ?? "");
}

function letter(index) {
  return String.fromCharCode("A".charCodeAt(0) + index);
}
