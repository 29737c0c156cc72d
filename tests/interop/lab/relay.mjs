// Stands between one client and the gateway, changes nothing, and remembers what was said: what a client has really
// sent is on its wire, not in its own words.

import { connect, createServer } from "node:net";

// Not anchored at a line's start: the next head follows the last body without a line end. No job's body looks like one.
const REQUEST = /([A-Z]+) (\/\S*) HTTP\/1\.1\r\n((?:[^\r\n]+\r\n)*)\r\n/g;
const PAYMENT = /^(?:payment-signature|x-payment): *(\S+)\r$/im;
/** Characters of a connection in which a head may be, and that a transcript shows of each direction. */
const KEPT_MAX = 65_536;

/** Relays connections to `port` on loopback. */
export async function startRelay(port) {
  let requests = [];
  const conversations = new Set();
  const server = createServer((client) => {
    const conversation = { unread: "", sent: "", received: "" };
    conversations.add(conversation);
    const gateway = connect(port, "127.0.0.1");
    client.on("data", (bytes) => {
      const text = bytes.toString("latin1");
      conversation.sent = keep(conversation.sent + text);
      conversation.unread += text;
      let end = 0;
      for (const { 0: head, 1: method, 2: target, 3: headers, index } of conversation.unread.matchAll(REQUEST)) {
        requests.push({ method, target, payment: headers.match(PAYMENT)?.[1] });
        end = index + head.length;
      }
      conversation.unread = keep(conversation.unread.slice(end));
    });
    gateway.on("data", (bytes) => (conversation.received = keep(conversation.received + bytes.toString("latin1"))));
    client.pipe(gateway).pipe(client);
    client.on("error", () => gateway.destroy());
    gateway.on("error", () => client.destroy());
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    /** Forgets what was said so far. Connections that a client keeps open go on being heard. */
    forget() {
      requests = [];
      conversations.forEach((conversation) => Object.assign(conversation, { sent: "", received: "" }));
    },
    /** The requests in the order in which they came, over all connections. */
    requests: () => requests,
    /** The payments that were sent, each once. */
    payments: () => [...new Set(requests.flatMap(({ payment }) => payment ?? []))],
    transcript: () => [...conversations].map(({ sent, received }) => `${sent}\n${received}`).join("\n"),
    stop: () => server.close(),
  };
}

function keep(text) {
  return text.slice(-KEPT_MAX);
}
