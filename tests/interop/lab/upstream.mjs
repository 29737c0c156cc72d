// A backend that knows nothing of payments: it says what it was asked. `/broken` answers 500.

import { createServer } from "node:http";

/** Listens on loopback. */
export async function startUpstream() {
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { method, url, headers } = request;
    response.statusCode = url.startsWith("/broken") ? 500 : 200;
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ method, url, sent: Buffer.concat(chunks).toString(), headers }));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    address: `127.0.0.1:${server.address().port}`,
    stop: () => server.closeAllConnections() ?? server.close(),
  };
}
