// One client at its place: its process, its wire, and the gateway's ledger.

import { randomBytes } from "node:crypto";

export class Bench {
  constructor(client, process_, relay, gateway) {
    Object.assign(this, { client, process: process_, relay, gateway });
  }

  /** A job for a payer that nobody knows yet. */
  ask(method, target, body, headers) {
    this.key = newKey();
    return this.again(method, target, body, headers);
  }

  /** A job for the payer of the job before: with what the client remembers of it. */
  async again(method, target, body, headers) {
    this.relay.forget();
    const answer = await this.#job(this.relay.origin, method, target, body, headers);
    const payments = this.relay.payments().map(decode);
    const payer = payments[0]?.payload.authorization.from;
    return { answer, payments, payer, rows: payer ? await this.gateway.payments(payer) : [] };
  }

  /** A job whose connections end at the gateway itself: a relay would soften how they end. */
  askDirectly(method, target, body) {
    this.key = newKey();
    return this.#job(`http://127.0.0.1:${this.gateway.port}`, method, target, body);
  }

  /** The last payment once more, straight to the gateway. */
  repeat(target) {
    return this.gateway.repeat(this.client.versions[0], this.relay.payments().at(-1), target);
  }

  #job(origin, method, target, body = null, headers = {}) {
    const type = body === null ? {} : { "Content-Type": "application/json" };
    return this.process.ask({ url: `${origin}${target}`, method, headers: { ...headers, ...type }, body, key: this.key });
  }

  /** What went over the wire, preflights left out: "GET unpaid", "GET paid". */
  sent() {
    const requests = this.relay.requests().filter(({ method }) => method !== "OPTIONS");
    return requests.map(({ method, payment }) => `${method} ${payment ? "paid" : "unpaid"}`);
  }
}

function newKey() {
  return `0x${randomBytes(32).toString("hex")}`;
}

function decode(payment) {
  return JSON.parse(Buffer.from(payment, "base64").toString());
}
