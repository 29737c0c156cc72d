// Stands before a facilitator, at an address of its own: it can be shut, and it can keep an answer to itself.

import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer, request as ask } from "node:http";

/** Below those that a system gives away by itself: while the door is shut, nobody else gets its port. */
const PORTS = [20_000, 32_000];

/** A door to the facilitator at `url`, open. */
export async function startDoor(url) {
  for (;;) {
    const door = new Door(new URL(url), randomInt(...PORTS));
    try {
      await door.open();
      return door;
    } catch (error) {
      if (error.code !== "EADDRINUSE") throw error;
    }
  }
}

class Door {
  /** The path whose requests go in, and whose answers do not come out. */
  silent = undefined;

  constructor(inside, port) {
    Object.assign(this, { inside, port });
    this.server = createServer((request, response) => this.#pass(request, response));
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  async open() {
    this.server.listen(this.port, "127.0.0.1");
    await once(this.server, "listening");
  }

  /** From now on nobody listens at its address. */
  async shut() {
    const closed = new Promise((done) => this.server.close(done));
    this.server.closeAllConnections();
    await closed;
  }

  /** As it was at first. */
  async restore() {
    this.silent = undefined;
    if (!this.server.listening) await this.open();
  }

  /** Shuts it, if it is open. */
  async stop() {
    if (this.server.listening) await this.shut();
  }

  #pass(request, response) {
    const { method, url, headers } = request;
    const { hostname, port } = this.inside;
    // Nobody goes on waiting inside when the one outside has left, but what has begun is not taken back.
    const asked = { hostname, port, path: url, method, headers: { ...headers, connection: "close" } };
    const inward = ask(asked, (answer) => {
      if (this.silent === url) {
        answer.resume();
        return;
      }
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    inward.on("error", () => response.destroy());
    request.pipe(inward);
  }
}
