// Processes that do not outlive this one, however it ends.

import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { createInterface } from "node:readline";

const groups = new Set();

/** Remembers a process that leads a group of its own, for `survivors`. */
export function watch({ pid }) {
  if (pid !== undefined) groups.add(pid);
}

/** The process groups of those started here in which there is somebody still. */
export function survivors() {
  return [...groups].filter((group) => {
    try {
      return process.kill(-group, 0);
    } catch (error) {
      if (error.code === "ESRCH") return false;
      throw error;
    }
  });
}

/**
 * Starts the program and asks it to end when its own standard input does: on `stop`, and when this process is gone. It
 * lets go of what the program writes to, so that an end of that is the program's end.
 */
const GUARD = '"$@" & child=$!; exec >/dev/null 2>&1; cat >/dev/null; kill "$child" 2>/dev/null; wait "$child"';

/**
 * Starts a program and waits for the first line that `ready` makes something of, on its standard output or, if told
 * so, on "stderr".
 *
 * What it writes goes to the file `log`, if one is named. Throws if it ends before it is ready.
 */
export async function startGuarded([program, ...args], { ready, on = "stdout", log, environment = {} }) {
  const guard = spawn("sh", ["-c", GUARD, "sh", program, ...args], {
    env: { ...process.env, ...environment },
    stdio: ["pipe", "pipe", "pipe"],
    // In a group of its own: Ctrl-C is for this process, and must not end the guard before its program.
    detached: true,
  });
  watch(guard);
  const ended = new Promise((done) => guard.once("close", (code) => done(code)));
  const complaints = [];
  const hear = (bytes) => complaints.push(bytes);
  guard.stderr.on("data", hear);
  if (log) {
    const file = createWriteStream(log);
    guard.stdout.pipe(file, { end: false });
    guard.stderr.pipe(file, { end: false });
    ended.then(() => file.end());
  }
  /** Asks the program to end, waits until it has, and gives its exit code. */
  const stop = () => {
    guard.stdin.end();
    return ended;
  };
  const answer = await firstReady(guard[on], ready);
  if (answer === undefined) {
    const code = await stop();
    throw new Error(`${program} has ended with ${code}: ${Buffer.concat(complaints).toString().trim()}`);
  }
  guard.stdout.resume();
  guard.stderr.off("data", hear).resume();
  return { answer, stop };
}

function firstReady(output, ready) {
  return new Promise((done) => {
    const lines = createInterface({ input: output });
    const read = (line) => {
      const answer = ready(line);
      if (answer === undefined) return;
      lines.off("line", read);
      done(answer);
    };
    // Lines are read on to the end: a full pipe would stop the program.
    lines.on("line", read).on("close", () => done(undefined));
  });
}
