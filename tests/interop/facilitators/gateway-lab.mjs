// A chain, a facilitator on it, an upstream and the built gateway between, for tests.

import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { generatePrivateKey, privateKeyToAccount } from "../chain/accounts.mjs";
import { authorization, moveArguments, payloadOf, sign } from "../chain/authorization.mjs";
import { ADDRESSES, facilitatorKey, startChain } from "../chain/chain.mjs";
import { newWallet } from "../chain/wallet.mjs";
import { PRICE } from "./dialects.mjs";
import { farebox, listen, startGateway } from "./gateway.mjs";

/** How each version names its headers, and what a payment has beside its payload. */
const WIRE = {
  v2: {
    paymentHeader: "payment-signature",
    settlementHeader: "payment-response",
    envelope: ([accepted]) => ({ x402Version: 2, accepted }),
  },
  v1: {
    paymentHeader: "x-payment",
    settlementHeader: "x-payment-response",
    envelope: () => ({ x402Version: 1, scheme: "exact", network: "base-sepolia" }),
  },
};

export const FUNDS = 1_000_000n;
export const SETTLE_MODES = ["on-success", "before", "overlap"];

export function newAccount() {
  const key = generatePrivateKey();
  return Object.assign(privateKeyToAccount(key), { key });
}

export class Lab {
  /**
   * `startFacilitator` is of the facilitator's own module. The chain mines a block for each transaction, or every
   * `blockTime` seconds, if given; the upstream answers after `upstreamMs`.
   */
  constructor(startFacilitator, { blockTime, upstreamMs = 0 } = {}) {
    this.startFacilitator = startFacilitator;
    this.blockTime = blockTime;
    this.upstreamMs = upstreamMs;
    this.seller = newAccount().address;
    this.started = [];
  }

  async start() {
    const keep = (part) => {
      this.started.push(part);
      return part;
    };
    const folder = await mkdtemp(join(tmpdir(), "farebox-facilitator-"));
    keep({ stop: () => rm(folder, { recursive: true }) });
    this.chain = keep(await startChain({ blockTime: this.blockTime }));
    const facilitator = keep(
      await this.startFacilitator({
        rpc: this.chain.url,
        key: facilitatorKey(0),
        factories: [ADDRESSES.walletFactory],
      }),
    );
    const upstream = createServer(async (request, response) => {
      if (this.upstreamMs > 0) await pause(this.upstreamMs);
      serve(request, response);
    });
    const upstreamPort = await listen(upstream);
    keep({ stop: () => upstream.close() });
    this.gateway = keep(await startGateway(folder, configOf(facilitator.url, upstreamPort, this.seller)));
    this.url = this.gateway.url;
  }

  async stop() {
    for (const part of this.started.reverse()) await part.stop();
  }

  /** What the operator sees of the facilitator. */
  async facilitatorHealth() {
    const { facilitators } = await (await fetch(`${this.gateway.adminUrl}/status`)).json();
    return facilitators[0];
  }

  async newPayer(funds = FUNDS) {
    const payer = newAccount();
    await this.chain.mint(payer.address, funds);
    return payer;
  }

  /** The gateway's own client pays for a path: its exit code and its answer. */
  pay(path, flags, { key }) {
    return farebox(["pay", `${this.url}/${path}`, "--yes", "--json", ...flags], { FAREBOX_KEY: key });
  }

  /** The ledger's payments of a payer. */
  payments(payer) {
    return this.gateway.payments(payer);
  }

  /** Sends a payment as a client would: the answer, the settlement header decoded, and how long it took. */
  async send(path, dialect, payload) {
    const { paymentHeader, settlementHeader, envelope } = WIRE[dialect];
    const unpaid = await fetch(`${this.url}${path}`);
    const { accepts } = decode(unpaid.headers.get("payment-required"));
    const payment = JSON.stringify({ ...envelope(accepts), payload });
    const headers = { [paymentHeader]: Buffer.from(payment).toString("base64") };
    const began = performance.now();
    const response = await fetch(`${this.url}${path}`, { headers });
    const body = await response.text();
    const milliseconds = performance.now() - began;
    const settlement = response.headers.get(settlementHeader);
    return {
      milliseconds,
      status: response.status,
      body,
      settlement: settlement && decode(settlement),
    };
  }

  /** The payload of a payment of the price by a new payer; what is given differs from a good one. */
  async signed({ funds = FUNDS, signer, ...changed }) {
    const payer = await this.newPayer(funds);
    const message = authorization({ from: payer.address, to: this.seller, value: PRICE, ...changed });
    return payloadOf(message, await sign(signer ?? payer, message));
  }

  /** The same by a smart account, deployed or not. */
  async signedByWallet({ deployed = false, signer }) {
    const wallet = await newWallet(this.chain, FUNDS);
    if (deployed) await wallet.deploy();
    const message = authorization({ from: wallet.address, to: this.seller, value: PRICE });
    const signature = await wallet.sign(message, signer);
    return payloadOf(message, deployed ? signature : wallet.wrap(signature));
  }

  /** A payment that somebody else has brought to the chain already. */
  async spentElsewhere() {
    const payer = await this.newPayer();
    const message = authorization({ from: payer.address, to: this.seller, value: PRICE });
    const signature = await sign(payer, message);
    await this.chain.send({
      ...this.chain.token,
      functionName: "transferWithAuthorization",
      args: [...moveArguments(message), signature],
    });
    return payloadOf(message, signature);
  }
}

function configOf(facilitator, upstreamPort, seller) {
  const routes = SETTLE_MODES.map(
    (settle) => `[[route]]\npath = "/${settle}"\nprice = "$0.01"\nsettle = "${settle}"\n`,
  );
  return `[facilitators.main]\nurl = "${facilitator}"\n
[pay.usdc]\nnetwork = "base-sepolia"\nasset = "USDC"\npay_to = "${seller}"\nfacilitators = ["main"]\n
[upstreams.goods]\nservers = ["127.0.0.1:${upstreamPort}"]\n
[[route]]\npath = "/broken"\nprice = "$0.01"\n
[[route]]\npath = "/window"\nprice = "$0.01"\nwindow = "60s"\n
${routes.join("\n")}`;
}

/** The upstream: what is posted comes back. */
function serve(request, response) {
  response.writeHead(request.url === "/broken" ? 500 : 200);
  if (request.method === "POST") request.pipe(response);
  else response.end("goods");
}

function decode(header) {
  return JSON.parse(Buffer.from(header, "base64").toString());
}
