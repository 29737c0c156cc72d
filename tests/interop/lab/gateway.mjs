// The gateway under test: the real binary, its config, its ledger.

import { execFile } from "node:child_process";
import { createWriteStream } from "node:fs";
import { copyFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

import { start } from "./child.mjs";

const STARTS_MAX = 5;

/** Starts `farebox run` in `folder`, in front of `upstream`. */
export async function startGateway(farebox, folder, upstream) {
  const config = join(folder, "gateway.toml");
  await copyFile(new URL("../gateway.toml", import.meta.url), config);
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const environment = { ...process.env, LAB_GATEWAY: `127.0.0.1:${port}`, LAB_UPSTREAM: upstream };
    const child = start(farebox, ["run", config], { env: environment, stdio: ["ignore", "ignore", "pipe"] });
    if (await isServing(child, join(folder, "gateway.log"))) {
      return new Gateway(farebox, config, environment, child, port);
    }
    // Another program may have taken the port in between.
    if (attempt === STARTS_MAX) throw new Error(`farebox does not start: see ${folder}/gateway.log`);
  }
}

class Gateway {
  constructor(farebox, config, environment, child, port) {
    Object.assign(this, { farebox, config, environment, child, port });
  }

  /** The ledger's rows of one payer, oldest first; of everybody without one. */
  async payments(payer) {
    const whose = payer ? ["--payer", payer] : [];
    const { stdout } = await promisify(execFile)(this.farebox, ["ledger", this.config, "--json", ...whose], {
      env: this.environment,
      maxBuffer: 1 << 26,
    });
    return JSON.parse(stdout).reverse();
  }

  /** Ends it as an operator would, and gives its exit code. */
  async stop() {
    this.child.kill("SIGTERM");
    await this.child.ended;
    return this.child.exitCode;
  }
}

/** Its listeners are bound before it says so. */
function isServing(child, logFile) {
  return new Promise((done) => {
    const log = createWriteStream(logFile);
    createInterface({ input: child.stderr }).on("line", (line) => {
      log.write(`${line}\n`);
      if (line.includes('"message":"serving"')) done(true);
    });
    child.ended.then(() => done(false));
  });
}

async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}
