// What all clients share: the chains, the facilitators on them, and the backend. A part that cannot be had here is
// absent, with a reason; what needs it is not tried.

import { join } from "node:path";

import { startUpstream } from "../upstream.mjs";
import { Evm, Solana } from "./money.mjs";

/** The second chain is an hour ahead of everybody: what is signed for minutes has expired there. */
const AHEAD_SECONDS = 3600;
const FEES_LAMPORTS = 10n ** 9n;

/** Starts the parts that `absent` (their names, with reasons) does not have, and adds those that do not start. */
export async function startWorld({ folder, absent }) {
  const world = new World(folder, absent);
  try {
    await world.start();
    return world;
  } catch (error) {
    await world.stop();
    throw error;
  }
}

class World {
  /** By family of networks. */
  money = {};
  /** URLs by name. */
  facilitators = {};
  #started = [];

  constructor(folder, absent) {
    Object.assign(this, { folder, absent });
  }

  /** Why something that needs these parts cannot be tried; nothing if it can. */
  lacks(...parts) {
    return parts.map((part) => this.absent.get(part)).find((reason) => reason !== undefined);
  }

  async start() {
    this.upstream = this.#keep(await startUpstream());
    await Promise.all([this.#startEvm(), this.#startSolana()]);
  }

  async stop() {
    for (const part of this.#started.reverse()) await part.stop();
    this.#started = [];
  }

  async #startEvm() {
    // viem looks for a receipt once a block, and the last transaction of a test may be the chain's last for long.
    const heartbeat = 1;
    const chain = await this.#part("chain", [], (module, log) => module.startChain({ heartbeat, log }));
    const ahead = async (module, log) => {
      const late = await module.startChain({ heartbeat, log });
      await late.control.increaseTime({ seconds: AHEAD_SECONDS });
      await late.mine();
      return late;
    };
    const late = await this.#part("chain", [], ahead, "late-chain");
    if (chain && late) Object.assign(this.money, { evm: new Evm(chain), late: new Evm(late) });
    await Promise.all([
      this.#startSettlers("ts", ["chain"], 0, { "": chain, "late-": late }),
      this.#startSettlers("rs", ["chain", "rs"], 1, { "": chain, "late-": late }),
    ]);
  }

  /** A facilitator on each of the chains. Its `index` is the account that pays: one of its own. */
  async #startSettlers(name, standsOn, index, chains) {
    for (const [prefix, chain] of Object.entries(chains)) {
      const start = async (module, log) => {
        const { facilitatorKey } = await import(MODULES.chain);
        return module.startFacilitator({ rpc: chain.url, key: facilitatorKey(index), log });
      };
      const facilitator = await this.#part(`facilitators/${name}`, standsOn, start, `${prefix}${name}`);
      this.facilitators[`${prefix}${name}`] = facilitator?.url;
    }
  }

  async #startSolana() {
    const ledger = await this.#part("solana", [], (module, log) => module.startSolana({ log }));
    if (ledger) this.money.solana = new Solana(ledger);
    const start = async (module, log) => {
      const { secretKey } = await ledger.newWallet({ lamports: FEES_LAMPORTS });
      return module.startFacilitator({ rpc: ledger.rpc, key: secretKey, log });
    };
    this.facilitators.svm = (await this.#part("facilitators/svm", ["solana"], start, "svm"))?.url;
  }

  /** A part that is started by its own module, unless it or what it stands on is absent. */
  async #part(name, standsOn, start, log = name) {
    const reason = this.lacks(name, ...standsOn);
    if (reason !== undefined) {
      this.absent.set(name, reason);
      return undefined;
    }
    try {
      return this.#keep(await start(await import(MODULES[name]), join(this.folder, `${log}.log`)));
    } catch (error) {
      this.absent.set(name, error.message.split("\n")[0]);
      return undefined;
    }
  }

  #keep(part) {
    this.#started.push(part);
    return part;
  }
}

/** Imported when they are installed, and not before. */
const MODULES = {
  chain: "../../chain/chain.mjs",
  solana: "../../solana/solana.mjs",
  "facilitators/ts": "../../facilitators/ts/facilitator.mjs",
  "facilitators/rs": "../../facilitators/rs/facilitator.mjs",
  "facilitators/svm": "../../facilitators/svm/facilitator.mjs",
};
