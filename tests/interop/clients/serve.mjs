// A client's side of the lab, for node: says who it is, then pays one job a line.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

// Standard output carries answers only.
console.log = console.info = console.debug = console.error;

/**
 * Answers jobs until standard input ends.
 *
 * @param npmPackage whose installed version is reported
 * @param pay takes a job, gives an answer; what it throws is the client's own error
 */
export async function serve(npmPackage, pay) {
  const { version } = JSON.parse(readFileSync(`node_modules/${npmPackage}/package.json`, "utf8"));
  write({ version });
  for await (const line of createInterface({ input: process.stdin })) {
    write(await pay(JSON.parse(line)).catch((error) => ({ error: `${error?.name}: ${error?.message}` })));
  }
}

/** The answer to a job, from a Fetch API response. `decode` is the SDK's own reading of the settlement header. */
export async function answer(response, settlementHeader, decode) {
  const settlement = response.headers.get(settlementHeader);
  return {
    status: response.status,
    body: await response.text(),
    settlement: settlement && decode(settlement),
    pass: response.headers.get("farebox-pass"),
  };
}

/** The same from an axios request, whose settlement header is named in lower case. */
export async function axiosAnswer(asked, settlementHeader, decode) {
  const { status, data, headers } = await asked.catch((error) => {
    // axios throws on every status above 299: that is its way to hand over an answer.
    if (!error.response) throw error;
    return error.response;
  });
  const settlement = headers[settlementHeader];
  return {
    status,
    // axios has parsed what is JSON already.
    body: typeof data === "string" ? data : JSON.stringify(data),
    settlement: settlement && decode(settlement),
    pass: headers["farebox-pass"],
  };
}

function write(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
