// Requests of all kinds, each paid for on the chain.

import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";

import { pays, reachedBackend } from "./checks.mjs";

const ORDER = '{"city":"Zürich","n":[1,2]}';

export const ROUTES = [
  echoed("query string", "GET", "/any/search?q=x%20y&q=%26&empty"),
  echoed("path parameter", "GET", "/items/a%20b%C3%BC"),
  echoed("POST", "POST", "/any/orders", ORDER),
  {
    ...ofEvm("HEAD"),
    // The terms of v1 are in the body, which a HEAD has not.
    needs: ({ family, version }) => family === "evm" && version === 2,
    async keep(place) {
      const { answer } = await pays(place, "HEAD", "/any/thing");
      assert.equal(answer.body, "");
    },
  },
  {
    ...ofEvm("20 MB"),
    async keep(place) {
      const { large, largeDigest } = place.world.upstream;
      const { answer } = await pays(place, "GET", "/any/large", { digest: true });
      // A client that makes no digest repeats it all.
      const digest = answer.bytes === undefined ? sha256(answer.body) : answer.body;
      assert.deepEqual([answer.bytes ?? answer.body.length, digest], [large.length, largeDigest]);
    },
  },
  {
    ...ofEvm("events"),
    async keep(place) {
      const name = randomUUID();
      const expected = place.world.upstream.stream(name, (event) => place.relay.passed(event));
      const { answer } = await pays(place, "GET", `/any/events?stream=${name}`);
      assert.equal(answer.body, expected);
    },
  },
];

function ofEvm(name) {
  return { name, parts: ["facilitators/ts"], needs: ({ family }) => family === "evm" };
}

function echoed(name, method, target, body) {
  return {
    ...ofEvm(name),
    async keep(place) {
      const { answer, row } = await pays(place, method, target, { body });
      reachedBackend(JSON.parse(answer.body), { method, target, body }, row);
    },
  };
}

function sha256(text) {
  return createHash("sha256").update(text).digest("hex");
}
