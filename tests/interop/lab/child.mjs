// Child processes that do not outlive the lab, however it ends.

import { spawn } from "node:child_process";

import { watch } from "../chain/guarded.mjs";

const alive = new Set();

process.on("exit", () => alive.forEach((child) => child.kill("SIGKILL")));
for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]]) {
  process.on(signal, () => process.exit(code));
}

/** `spawn`, with a promise `ended` that is kept when the process has ended or could not be started. */
export function start(program, args, options) {
  const child = spawn(program, args, { ...options, detached: true });
  watch(child);
  alive.add(child);
  child.ended = new Promise((done) => {
    child.once("exit", done);
    child.once("error", done);
  }).then(() => alive.delete(child));
  return child;
}
