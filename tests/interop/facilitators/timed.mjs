// Stands before a facilitator and notes how long it takes to settle.

import { Agent, createServer, request as ask } from "node:http";
import { listen } from "./gateway.mjs";

/** Passes on to the facilitator at `url`. `settled` are the milliseconds from each `/settle` to the end of its answer. */
export async function startTimed(url) {
  const { hostname, port } = new URL(url);
  const agent = new Agent({ keepAlive: true });
  const settled = [];
  const server = createServer((request, response) => {
    const { method, url: path, headers } = request;
    const began = performance.now();
    const inward = ask({ hostname, port, path, method, headers, agent }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
      if (path === "/settle") answer.once("end", () => settled.push(performance.now() - began));
    });
    inward.on("error", () => response.destroy());
    request.pipe(inward);
  });
  const stop = () => {
    agent.destroy();
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${await listen(server)}`, settled, stop };
}
