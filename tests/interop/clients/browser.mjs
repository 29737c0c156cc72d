// The Fetch API with a browser's CORS rules (https://fetch.spec.whatwg.org/#http-cors-protocol), for a script of
// another origin that sends no credentials. Node's own fetch keeps none of them.

const ORIGIN = "https://shop.example";
const SIMPLE_METHODS = ["GET", "HEAD", "POST"];
const SIMPLE_TYPES = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];
const SIMPLE_REQUEST_HEADERS = ["accept", "accept-language", "content-language"];
const SIMPLE_RESPONSE_HEADERS = [
  "cache-control", "content-language", "content-length", "content-type", "expires", "last-modified", "pragma",
];

/** `fetch` as a script at another origin has it. */
export async function browserFetch(input, init) {
  const request = new Request(input, init);
  const unsafe = [...request.headers].filter(([name, value]) => !isSafelisted(name, value)).map(([name]) => name);
  if (unsafe.length > 0 || !SIMPLE_METHODS.includes(request.method)) {
    await preflight(request, unsafe);
  }
  request.headers.set("origin", ORIGIN);
  const response = await fetch(request);
  checkOrigin(response, `the answer (${response.status})`);
  return readable(response);
}

async function preflight(request, unsafe) {
  const headers = { origin: ORIGIN, "access-control-request-method": request.method };
  if (unsafe.length > 0) {
    headers["access-control-request-headers"] = unsafe.sort().join(",");
  }
  const response = await fetch(request.url, { method: "OPTIONS", headers });
  checkOrigin(response, "the preflight");
  if (!response.ok) {
    throw new TypeError(`CORS: the preflight was answered ${response.status}`);
  }
  const methods = list(response, "access-control-allow-methods");
  if (![...SIMPLE_METHODS, ...methods].some((method) => method === request.method || method === "*")) {
    throw new TypeError(`CORS: the method ${request.method} is not allowed`);
  }
  const allowed = list(response, "access-control-allow-headers").map((name) => name.toLowerCase());
  const refused = unsafe.filter((name) => !allowed.includes(name) && !allowed.includes("*"));
  if (refused.length > 0) {
    throw new TypeError(`CORS: the request headers ${refused} are not allowed`);
  }
}

function isSafelisted(name, value) {
  return SIMPLE_REQUEST_HEADERS.includes(name)
    || (name === "content-type" && SIMPLE_TYPES.includes(value.split(";")[0].trim().toLowerCase()));
}

function checkOrigin(response, what) {
  const allowed = response.headers.get("access-control-allow-origin");
  if (allowed !== "*" && allowed !== ORIGIN) {
    throw new TypeError(`CORS: ${what} is hidden: Access-Control-Allow-Origin is ${allowed}`);
  }
}

/** The response with the headers that a script may read. */
function readable(response) {
  const exposed = list(response, "access-control-expose-headers").map((name) => name.toLowerCase());
  const may = (name) =>
    SIMPLE_RESPONSE_HEADERS.includes(name) || exposed.includes(name) || exposed.includes("*");
  const headers = [...response.headers].filter(([name]) => may(name) && name !== "set-cookie");
  const { status, statusText } = response;
  return new Response([204, 304].includes(status) ? null : response.body, { status, statusText, headers });
}

function list(response, name) {
  return (response.headers.get(name) ?? "").split(",").map((part) => part.trim()).filter(Boolean);
}
