// The built gateway, for tests of a facilitator: FAREBOX is the binary; without it, the one that `cargo build` makes.
// LAB_LOG is a file for the gateway's log.

import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { startGuarded } from "../chain/guarded.mjs";

const BUILT = fileURLToPath(new URL("../../../target/debug/farebox", import.meta.url));
const FAREBOX = resolve(process.env.FAREBOX ?? BUILT);

/** Listens on a free port of loopback, and gives it. */
export function listen(server) {
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server.address().port)));
}

/** Starts `farebox run` in `folder` with the config `text`, to which its listeners are added. */
export async function startGateway(folder, text) {
  const [port, adminPort] = await freePorts(2);
  const config = join(folder, "gateway.toml");
  const listeners = `[server]\nlisten = ["127.0.0.1:${port}"]\n[admin]\nlisten = "127.0.0.1:${adminPort}"\n`;
  await writeFile(config, `${listeners}${text}`);
  const { stop } = await startGuarded([FAREBOX, "run", config], {
    ready: (line) => (line.includes('"message":"serving"') ? true : undefined),
    on: "stderr",
    log: process.env.LAB_LOG,
  });
  return {
    url: `http://127.0.0.1:${port}`,
    /** Where the operator asks. */
    adminUrl: `http://127.0.0.1:${adminPort}`,
    /** The ledger's rows of one payer, newest first; of everybody without one. */
    async payments(payer) {
      const whose = payer ? ["--payer", payer] : [];
      return (await farebox(["ledger", config, "--json", ...whose])).answer;
    },
    stop,
  };
}

/** Runs a command of the binary, and gives its exit code and the JSON that it prints. */
export function farebox(args, environment = {}) {
  const options = { env: { ...process.env, ...environment } };
  return new Promise((done, fail) => {
    execFile(FAREBOX, args, options, (error, stdout, stderr) => {
      try {
        done({ code: error?.code ?? 0, answer: JSON.parse(stdout) });
      } catch {
        fail(new Error(`farebox ${args.join(" ")}: ${error?.code} ${stdout}${stderr}`));
      }
    });
  });
}

/** Nobody knows which port the gateway would be given; ones that were free a moment ago will do. */
async function freePorts(count) {
  const placeholders = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(placeholders.map(listen));
  await Promise.all(placeholders.map((placeholder) => new Promise((done) => placeholder.close(done))));
  return ports;
}
