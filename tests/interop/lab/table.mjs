// The run's outcome, for a terminal and for docs/. `results` is
// `[{client, version, outcomes: Map(promise's name -> {mark, error})}]`, `audit` one such outcome.

const MARKS = { kept: "ok", broken: "FAILED", skipped: "-" };

/** A client in one line. */
function title({ client, version }) {
  return `${client.name} ${version ?? "?"} (${client.registry}, v${client.dialect})`;
}

/** How many promises were kept and broken; the ledger's audit is one. */
export function count(results, audit) {
  const marks = [...results.flatMap(({ outcomes }) => [...outcomes.values()]), audit].map(({ mark }) => mark);
  const of = (wanted) => marks.filter((mark) => mark === wanted).length;
  return { kept: of("kept"), broken: of("broken") };
}

/** The last line of a run. */
export function verdict(results, audit) {
  const { kept, broken } = count(results, audit);
  return `${kept} passed, ${broken} failed`;
}

/** One line for each client and error, with the promises that it broke. */
export function failures(results, audit) {
  const lines = results.flatMap((result) => {
    const byError = new Map();
    for (const [name, { mark, error }] of result.outcomes) {
      if (mark !== "broken") continue;
      const found = whatWasFound(error);
      byError.set(found, [...(byError.get(found) ?? []), name]);
    }
    return [...byError].map(([error, names]) => `${title(result)}: ${error} (${names.join("; ")})`);
  });
  return audit.mark === "broken" ? [...lines, `the ledger: ${whatWasFound(audit.error)}`] : lines;
}

/** An assertion's message in one line: what was there instead. */
function whatWasFound({ message }) {
  const found = String(message).split("\n").filter((line) => /^\+(?! actual)/.test(line));
  return found.length > 0 ? found.map((line) => line.slice(1).trim()).join(" ") : message.split("\n").join(" ").trim();
}

/** The table for a terminal. Clients as columns would be too wide: they are letters. */
export function text(results, promises) {
  const legend = results.map((result, index) => `  ${letter(index)}  ${title(result)}`);
  const width = Math.max(...promises.map(({ name }) => name.length));
  const line = (name, cells) => `  ${name.padEnd(width)}  ${cells.map((cell) => cell.padEnd(6)).join(" ")}`.trimEnd();
  const rows = promises.map(({ name }) => line(name, marks(results, name)));
  return [...legend, "", line("", results.map((_, index) => letter(index))), ...rows].join("\n");
}

/** The run as a page. */
export function page(results, promises, audit) {
  const row = (cells) => `| ${cells.join(" | ")} |`;
  const clients = results.map(({ client, version }, index) =>
    row([letter(index), client.name, version ?? "?", client.registry, `v${client.dialect}`]));
  const lines = [
    row(["", "client", "version", "registry", "pays as"]),
    row(["---", "---", "---", "---", "---"]),
    ...clients,
    "",
    row(["promise", ...results.map((_, index) => letter(index))]),
    row(["---", ...results.map(() => "---")]),
    ...promises.map(({ name }) => row([name, ...marks(results, name)])),
    row(["ledger: settled once, delivered", MARKS[audit.mark], ...results.slice(1).map(() => "")]),
  ];
  return `# Official x402 clients against Farebox

Clients from npm and PyPI pay routes of the built gateway through its sandbox facilitator. This page was written by

    tests/interop/run target/debug/farebox --markdown docs/sdk-run.md

${lines.join("\n")}

\`-\`: the client has no such thing: a spending limit of its own, a cookie jar, or (v1) terms in the answer to a HEAD.
"Browser rules" is the same client behind a browser's CORS rules. What each promise checks: \`tests/interop/lab/promises.mjs\`.

${failures(results, audit).map((line) => `- ${line}\n`).join("")}
**${verdict(results, audit)}**
`;
}

function marks(results, name) {
  return results.map(({ outcomes }) => MARKS[outcomes.get(name).mark]);
}

function letter(index) {
  return String.fromCharCode("A".charCodeAt(0) + index);
}
