// x402's headers: JSON in base64.

export function decodeHeader(text) {
  return JSON.parse(Buffer.from(text, "base64").toString());
}

export function encodeHeader(value) {
  return Buffer.from(JSON.stringify(value)).toString("base64");
}
