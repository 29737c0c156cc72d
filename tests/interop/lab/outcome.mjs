// How what was tried has ended, and what a run says of it. A row is a client's: `{client, release, version, outcomes}`,
// where `release` is of the client, `version` is x402's, and `outcomes` is a Map of promises to outcomes.

export const MARKS = { kept: "ok", broken: "FAILED", skipped: "-", absent: "absent" };

/** `{mark: "kept"}`, or `{mark: "broken", error}`. */
export async function attempt(step) {
  try {
    await step();
    return { mark: "kept" };
  } catch (error) {
    return { mark: "broken", error };
  }
}

/** How many outcomes there are of each mark. */
export function count(rows) {
  const counts = Object.fromEntries(Object.keys(MARKS).map((mark) => [mark, 0]));
  for (const { outcomes } of rows) for (const { mark } of outcomes.values()) counts[mark] += 1;
  return counts;
}

/** A row in one line. */
export function title({ client, release, version }) {
  return `${client.name} ${release ?? "?"} (${client.registry}), v${version}`;
}

/** One line for each row and error, with the promises that it broke. */
export function failures(rows) {
  return rows.flatMap((row) => {
    const byError = new Map();
    for (const [{ name }, { mark, error }] of row.outcomes) {
      if (mark !== "broken") continue;
      const found = whatWasFound(error);
      byError.set(found, [...(byError.get(found) ?? []), name]);
    }
    return [...byError].map(([error, names]) => `${title(row)}: ${error} (${names.join("; ")})`);
  });
}

/** An assertion's message in one line: what was there instead. */
function whatWasFound({ message }) {
  const found = String(message).split("\n").filter((line) => /^\+(?! actual)/.test(line));
  return found.length > 0 ? found.map((line) => line.slice(1).trim()).join(" ") : message.split("\n").join(" ").trim();
}

/** The last line of a suite. */
export function verdict(rows, absent) {
  const counts = count(rows);
  const missing = [...absent].map(([part, reason]) => `${part} (${reason})`);
  const rest = missing.length > 0 ? `, ${counts.absent} not tried for want of ${missing.join(", ")}` : "";
  return `${counts.kept} passed, ${counts.broken} failed${rest}`;
}
