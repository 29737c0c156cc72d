// A part of the lab that speaks JSON over HTTP, as a process: the other end of `startGuarded`.

import { createServer } from "node:http";

const BODY_BYTES_MAX = 1 << 20;

/**
 * Serves on a free port of loopback until SIGTERM; the first line of output is {"port": …}.
 *
 * `answer` takes the method and the path as one text ("POST /verify") and the body (`undefined` where it is no JSON),
 * and gives a status and what to write as JSON. What it throws is a 500.
 */
export function serveJson(answer) {
  const server = createServer(async (request, response) => {
    const [status, body] = await readJson(request)
      .then((json) => answer(`${request.method} ${request.url}`, json))
      .catch((error) => [500, { error: error.message }]);
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
  process.once("SIGTERM", () => {
    server.close();
    server.closeAllConnections();
  });
}

async function readJson(request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) return undefined;
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    return undefined;
  }
}
