// A client as a process: it says its version in its first line, then answers each job (a JSON line) with a JSON line.

import { createWriteStream } from "node:fs";
import { createInterface } from "node:readline";

import { start } from "./child.mjs";

/** A client that says nothing for so long hangs. Longer than a settlement may take. */
const ANSWER_WAIT_MS = 45_000;

/** Starts a client; `log` gets what it says besides. */
export async function startClient({ command, folder }, log) {
  const [program, ...args] = command;
  const child = start(program, args, { cwd: folder, stdio: ["pipe", "pipe", "pipe"] });
  child.stderr.pipe(createWriteStream(log, { flags: "a" }));
  child.stdin.on("error", () => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    let timer;
    const late = new Promise((_, fail) => {
      timer = setTimeout(() => fail(new Error(`no answer in ${ANSWER_WAIT_MS} ms`)), ANSWER_WAIT_MS);
    });
    try {
      const { value, done } = await Promise.race([lines.next(), late]);
      if (done) throw new Error(`the client has ended: see ${log}`);
      return JSON.parse(value);
    } finally {
      clearTimeout(timer);
    }
  };
  const stop = async () => {
    child.kill("SIGKILL");
    await child.ended;
  };
  try {
    const { version } = await next();
    return {
      version,
      ask: (job) => {
        child.stdin.write(`${JSON.stringify(job)}\n`);
        return next();
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
