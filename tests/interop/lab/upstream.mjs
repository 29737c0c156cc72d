// A backend that knows nothing of payments: it says what it was asked. `/broken` answers 500, and what ends in `/large`
// or `/events` has something to send.

import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";

const LARGE_BYTES = 20_000_000;
const EVENTS = 5;

/** Listens on loopback. */
export async function startUpstream() {
  const upstream = new Upstream();
  await new Promise((done) => upstream.server.listen(0, "127.0.0.1", done));
  upstream.address = `127.0.0.1:${upstream.server.address().port}`;
  return upstream;
}

class Upstream {
  /** What a client gets of `/large`. */
  large = randomBytes(LARGE_BYTES / 2).toString("hex");
  #streams = new Map();

  constructor() {
    this.server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  get largeDigest() {
    return createHash("sha256").update(this.large).digest("hex");
  }

  /**
   * Has `/events?stream=NAME` send events, each when `passed` has said that the one before has gone on. Gives the text
   * that a client gets.
   */
  stream(name, passed) {
    this.#streams.set(name, passed);
    return events(name).join("");
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }

  async #answer(request, response) {
    const { pathname, searchParams } = new URL(request.url, "http://upstream");
    if (pathname.endsWith("/large")) {
      response.setHeader("content-type", "text/plain").end(this.large);
    } else if (pathname.endsWith("/events")) {
      await this.#sendEvents(searchParams.get("stream"), response);
    } else {
      await echo(request, response);
    }
  }

  async #sendEvents(name, response) {
    const passed = this.#streams.get(name);
    response.setHeader("content-type", "text/event-stream");
    for (const event of events(name)) {
      response.write(event);
      await passed(event);
    }
    response.end();
  }
}

function events(name) {
  return Array.from({ length: EVENTS }, (_, index) => `data: ${name} ${index}\n\n`);
}

async function echo(request, response) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const { method, url, headers } = request;
  response.statusCode = url.startsWith("/broken") ? 500 : 200;
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ method, url, sent: Buffer.concat(chunks).toString(), headers }));
}
