// A client's side of the lab, for node: says who it is, then pays one job a line.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

/** A client that has no answer by then gives up, with its own error. */
const TIMEOUT_MS = 30_000;

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
    try {
      write(await pay(JSON.parse(line)));
    } catch (error) {
      write({ error: `${error?.name}: ${error?.message}` });
    }
  }
}

/** What `make` makes of a key, made once: a wallet's client, with what it remembers, its cookies for one. */
export function perKey(make) {
  const made = new Map();
  return (key) => {
    if (!made.has(key)) made.set(key, make(key));
    return made.get(key);
  };
}

/** The answer to a job by `payingFetch`, a Fetch API. `decode` is the SDK's own reading of a settlement header. */
export async function fetchAnswer(payingFetch, job, decode) {
  const { url, method, headers, body } = job;
  const response = await payingFetch(url, { method, headers, body, signal: AbortSignal.timeout(TIMEOUT_MS) });
  const bytes = Buffer.from(await response.arrayBuffer());
  return answer(job, response.status, bytes, (name) => response.headers.get(name), decode);
}

/** The same by `paying`, an axios instance. */
export async function axiosAnswer(paying, job, decode) {
  const { url, method, headers, body } = job;
  const asked = paying.request({
    url,
    method,
    headers,
    data: body,
    timeout: TIMEOUT_MS,
    responseType: "arraybuffer",
    // Bytes stay bytes, but for the terms: the SDKs want them parsed, as axios does it unless it is told otherwise.
    transformResponse: (data, _, status) => (status === 402 ? parsed(data) : data),
  });
  const response = await asked.catch((error) => {
    // axios throws on every status above 299: that is its way to hand over an answer.
    if (!error.response) throw error;
    return error.response;
  });
  const { status, data, headers: received } = response;
  const bytes = Buffer.isBuffer(data) ? data : Buffer.from(JSON.stringify(data));
  return answer(job, status, bytes, (name) => received[name.toLowerCase()], decode);
}

function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    return data;
  }
}

/** A job that says `digest` gets the SHA-256 of a body that is too large to repeat. */
function answer({ digest }, status, bytes, header, decode) {
  const settlement = header("PAYMENT-RESPONSE") ?? header("X-PAYMENT-RESPONSE");
  const body = digest
    ? { body: createHash("sha256").update(bytes).digest("hex"), bytes: bytes.length }
    : { body: bytes.toString() };
  return { status, ...body, settlement: settlement && decode(settlement), pass: header("farebox-pass") };
}

function write(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
