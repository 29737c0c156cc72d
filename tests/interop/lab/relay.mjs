// Stands between one client and the gateway, and remembers what was said: what a client has really sent is on its wire,
// not in its own words. It changes nothing unless it is told to.

import { Agent, createServer, request as ask } from "node:http";
import { pipeline } from "node:stream/promises";

import { decodeHeader, encodeHeader } from "./header.mjs";

const TERMS_V2 = "payment-required";
const PAYMENTS = ["payment-signature", "x-payment"];
/** Characters of a body that a transcript shows. */
const SHOWN_MAX = 65_536;

/**
 * Relays to `port` on loopback. With `onlyV1`, it takes out what v2 clients read of the terms: they see a seller that
 * speaks v1 only.
 */
export async function startRelay(port, { onlyV1 = false } = {}) {
  const relay = new Relay(port, onlyV1);
  await new Promise((done) => relay.server.listen(0, "127.0.0.1", done));
  relay.origin = `http://127.0.0.1:${relay.server.address().port}`;
  return relay;
}

class Relay {
  constructor(port, onlyV1) {
    Object.assign(this, { port, onlyV1, agent: new Agent({ keepAlive: true }) });
    this.server = createServer((request, response) => {
      // A client or a gateway that hangs up is what the other one sees too.
      this.#relay(request, response).catch(() => response.destroy());
    });
    this.forget();
  }

  /** Forgets what was said so far, and changes nothing any more. */
  forget() {
    this.said = [];
    this.hooks = {};
  }

  /**
   * What is done on the way until `forget`:
   * - `offer`: changes one offer of the terms, of either version, before the client sees it;
   * - `payment`: is waited for before a payment goes on; gets it decoded, and may change it.
   */
  meddle(hooks) {
    this.hooks = hooks;
  }

  /** The requests in the order in which they came: `{method, target, payment}`. */
  requests() {
    return this.said;
  }

  /** The payments that were sent, each once, as their headers have them. */
  payments() {
    return [...new Set(this.said.flatMap(({ payment }) => payment ?? []))];
  }

  /** The terms that were shown, without what was done to them here: `{v2, v1}`, decoded. */
  terms() {
    return this.said.flatMap(({ terms }) => terms ?? []);
  }

  /** Waits until `text` has gone on towards the client. */
  passed(text) {
    const found = () => this.said.some(({ received }) => received.includes(text));
    return new Promise((done) => {
      const look = () => (found() ? done() : (this.onPassed = look));
      look();
    });
  }

  transcript() {
    return this.said.map(({ sent, received }) => `${sent}\n${received}`).join("\n\n");
  }

  stop() {
    this.agent.destroy();
    this.server.close();
    this.server.closeAllConnections();
  }

  async #relay(request, response) {
    const { method, url, rawHeaders } = request;
    const { hooks } = this;
    const name = PAYMENTS.find((header) => request.headers[header]);
    const entry = { method, target: url, payment: name && request.headers[name], received: "" };
    entry.sent = head(`${method} ${url}`, rawHeaders);
    this.said.push(entry);
    let headers = rawHeaders;
    if (name && hooks.payment) {
      const payment = decodeHeader(entry.payment);
      await hooks.payment(payment);
      headers = replaced(headers, name, encodeHeader(payment));
    }
    const onward = ask({ host: "127.0.0.1", port: this.port, method, path: url, headers, agent: this.agent });
    response.once("close", () => onward.destroy());
    request.pipe(onward);
    const answer = await new Promise((done, fail) => onward.once("response", done).once("error", fail));
    entry.received = head(`${answer.statusCode} ${answer.statusMessage}`, answer.rawHeaders);
    if (answer.statusCode === 402) await this.#passTerms(entry, hooks, answer, response);
    else await this.#pass(entry, answer, response);
  }

  async #pass(entry, answer, response) {
    response.writeHead(answer.statusCode, answer.statusMessage, answer.rawHeaders);
    response.flushHeaders();
    const note = (chunk) => {
      if (entry.received.length < SHOWN_MAX) entry.received += chunk.toString("latin1");
      this.onPassed?.();
    };
    const noted = async function* (chunks) {
      for await (const chunk of chunks) {
        yield chunk;
        // The next one is asked for: this one has gone on.
        note(chunk);
      }
    };
    await pipeline(answer, noted, response);
  }

  async #passTerms(entry, { offer }, answer, response) {
    const chunks = [];
    for await (const chunk of answer) chunks.push(chunk);
    let body = Buffer.concat(chunks);
    entry.received += body.toString();
    const v1 = body.length > 0 ? JSON.parse(body) : undefined;
    const v2 = answer.headers[TERMS_V2] && decodeHeader(answer.headers[TERMS_V2]);
    entry.terms = structuredClone({ v2, v1 });
    let headers = answer.rawHeaders;
    if (this.onlyV1) headers = replaced(headers, TERMS_V2);
    if (offer) {
      for (const terms of [v2, v1]) terms?.accepts?.forEach((one) => offer(one));
      if (v2 && !this.onlyV1) headers = replaced(headers, TERMS_V2, encodeHeader(v2));
      if (v1) {
        body = Buffer.from(JSON.stringify(v1));
        headers = replaced(headers, "content-length", String(body.length));
      }
    }
    response.writeHead(answer.statusCode, answer.statusMessage, headers).end(body);
  }
}

/** Raw headers with another value of one, or without it. */
function replaced(raw, name, value) {
  const pairs = raw.flatMap((text, index) => (index % 2 === 0 ? [[text, raw[index + 1]]] : []));
  return pairs.flatMap(([key, old]) => {
    if (key.toLowerCase() !== name) return [key, old];
    return value === undefined ? [] : [key, value];
  });
}

function head(first, raw) {
  const lines = raw.flatMap((text, index) => (index % 2 === 0 ? [`${text}: ${raw[index + 1]}`] : []));
  return [first, ...lines, "", ""].join("\n");
}
