// One client in one x402 version, with a gateway, a wire, a door to a facilitator and sellers of its own: what it pays
// is nobody else's.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { startClient } from "../client.mjs";
import { startGateway } from "../gateway.mjs";
import { decodeHeader } from "../header.mjs";
import { startRelay } from "../relay.mjs";
import { startDoor } from "./door.mjs";

/** Any address: where a family's parts are absent, nothing is paid to it. */
const NOBODY = {
  evm: "0x000000000000000000000000000000000000dEaD",
  solana: "So11111111111111111111111111111111111111112",
};

/** Nobody listens at a port that only root may have, and that nobody has used for decades. */
const NOWHERE = "http://127.0.0.1:1";

/** A place for `client` in x402 `version`. */
export async function startPlace(world, farebox, { client, version, name }) {
  const place = new Place(world, client, version, join(world.folder, name));
  try {
    await place.start(farebox);
    return place;
  } catch (error) {
    await place.stop();
    throw error;
  }
}

/** The family of networks that a client pays on. */
export function familyOf({ families }) {
  return families?.[0] ?? "evm";
}

class Place {
  #started = [];

  constructor(world, client, version, folder) {
    Object.assign(this, { world, client, version, folder, family: familyOf(client) });
  }

  async start(farebox) {
    const { client, version } = this;
    const { money, facilitators, upstream } = this.world;
    await mkdir(this.folder, { recursive: true });
    this.door = this.#keep(await startDoor(facilitators.ts ?? NOWHERE));
    this.sellers = {};
    for (const family of ["evm", "solana"]) {
      this.sellers[family] = (await money[family]?.newSeller()) ?? NOBODY[family];
    }
    this.gateway = this.#keep(
      await startGateway(farebox, this.folder, "gateway-chain.toml", {
        LAB_UPSTREAM: upstream.address,
        LAB_SELLER: this.sellers.evm,
        LAB_SOLANA_SELLER: this.sellers.solana,
        LAB_TS: facilitators.ts ?? NOWHERE,
        LAB_RS: facilitators.rs ?? NOWHERE,
        LAB_SVM: facilitators.svm ?? NOWHERE,
        LAB_LATE_TS: facilitators["late-ts"] ?? NOWHERE,
        LAB_LATE_RS: facilitators["late-rs"] ?? NOWHERE,
        LAB_DOOR: this.door.url,
        LAB_NOWHERE: NOWHERE,
        LAB_NODE: money.evm?.node ?? NOWHERE,
      }),
    );
    this.relay = await startRelay(this.gateway.port, { onlyV1: version === 1 && client.versions.includes(2) });
    this.#keep(this.relay);
    await this.#startClient();
  }

  /** After a promise that was broken: whatever state that has left. */
  async restart() {
    await this.process?.stop();
    await this.door.restore();
    await this.#startClient();
  }

  async #startClient() {
    this.process = undefined;
    this.process = await startClient({ ...this.client, folder: this.client.home }, join(this.folder, "client.log"));
  }

  async stop() {
    await this.process?.stop();
    for (const part of this.#started.reverse()) await part.stop();
  }

  #keep(part) {
    this.#started.push(part);
    return part;
  }

  /** The client's family's money. */
  get money() {
    return this.world.money[this.family];
  }

  get seller() {
    return this.sellers[this.family];
  }

  /** A job: what the client says, and what it has sent. `meddle` is what the relay does meanwhile. */
  async ask(payer, method, target, { body = null, headers = {}, digest, meddle = {} } = {}) {
    this.relay.forget();
    this.relay.meddle(meddle);
    const type = body === null ? {} : { "Content-Type": "application/json" };
    const url = `${this.relay.origin}${target}`;
    const job = { url, method, headers: { ...headers, ...type }, body, digest, ...payer.job };
    const answer = await this.process.ask(job);
    return { answer, payments: this.relay.payments().map(decodeHeader), raw: this.relay.payments() };
  }

  /** What went over the wire, preflights left out: "GET unpaid", "GET paid". */
  sent() {
    const requests = this.relay.requests().filter(({ method }) => method !== "OPTIONS");
    return requests.map(({ method, payment }) => `${method} ${payment ? "paid" : "unpaid"}`);
  }

  /** The same payment once more, straight to the gateway. */
  repeat(raw, target) {
    return this.gateway.repeat(this.version, raw, target);
  }
}
