// The gateway under test: the real binary, its config, its ledger.

import { execFile } from "node:child_process";
import { copyFile, mkdir } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";

import { startGuarded } from "../chain/guarded.mjs";

const STARTS_MAX = 5;

/** Starts `farebox run` in `folder` with a copy of a config of this lab, and what its `${…}` stand for. */
export async function startGateway(farebox, folder, config, variables) {
  await mkdir(folder, { recursive: true });
  const copy = join(folder, "gateway.toml");
  await copyFile(new URL(`../${config}`, import.meta.url), copy);
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const environment = { ...variables, LAB_GATEWAY: `127.0.0.1:${port}` };
    try {
      const { stop } = await startGuarded([farebox, "run", copy], {
        // Its listeners are bound before it says so.
        ready: (line) => (line.includes('"message":"serving"') ? true : undefined),
        on: "stderr",
        log: join(folder, "gateway.log"),
        environment,
      });
      return new Gateway(farebox, copy, environment, port, stop);
    } catch (error) {
      // Another program may have taken the port in between.
      if (attempt === STARTS_MAX) throw error;
    }
  }
}

class Gateway {
  constructor(farebox, config, environment, port, stop) {
    Object.assign(this, { farebox, config, environment, port });
    /** Ends it as an operator would, and gives its exit code. */
    this.stop = stop;
  }

  /** The ledger's rows of one payer, oldest first; of everybody without one. */
  async payments(payer) {
    const whose = payer ? ["--payer", payer] : [];
    const { stdout } = await promisify(execFile)(this.farebox, ["ledger", this.config, "--json", ...whose], {
      env: { ...process.env, ...this.environment },
      maxBuffer: 1 << 26,
    });
    return JSON.parse(stdout).reverse();
  }

  /** A payment once more, as it was sent: by nobody's client. */
  async repeat(version, raw, target) {
    const name = version === 2 ? "PAYMENT-SIGNATURE" : "X-PAYMENT";
    const response = await fetch(`http://127.0.0.1:${this.port}${target}`, { headers: { [name]: raw } });
    return { status: response.status, body: await response.text() };
  }
}

async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}
