// The clients of the lab. Each is a program beside its lock file; what is said of it here is what its own
// documentation promises, and what the checks rest on.

/**
 * - `name`, `registry`: as people find it; the version is asked of the installed package.
 * - `folder`, `command`: where and how it is started.
 * - `dialect`: the x402 version that it speaks to a gateway that speaks both.
 * - `browser`: whether it keeps a browser's CORS rules, as a script of another origin.
 * - `limit`: what its own error says above its own spending limit; left out where it has none.
 * - `cookies`: whether it keeps the cookies of a paid answer.
 */
export const CLIENTS = [
  {
    name: "@x402/fetch",
    registry: "npm",
    folder: "npm-v2",
    command: ["node", "x402-fetch.mjs"],
    dialect: 2,
    limit: /spendControls\.maxAmountPerPayment/,
  },
  {
    name: "@x402/fetch, browser rules",
    registry: "npm",
    folder: "npm-v2",
    command: ["node", "x402-fetch.mjs", "browser"],
    browser: true,
    dialect: 2,
    limit: /spendControls\.maxAmountPerPayment/,
  },
  {
    name: "@x402/axios",
    registry: "npm",
    folder: "npm-v2-axios",
    command: ["node", "x402-axios.mjs"],
    dialect: 2,
  },
  { name: "viem, by hand", registry: "npm", folder: "npm-v2", command: ["node", "viem.mjs"], dialect: 2 },
  {
    name: "x402 with httpx",
    registry: "PyPI",
    folder: "pypi-v2",
    command: ["venv/bin/python", "with_httpx.py"],
    dialect: 2,
    limit: /spend_controls\.max_amount_per_payment/,
    cookies: true,
  },
  {
    name: "x402 with requests",
    registry: "PyPI",
    folder: "pypi-v2",
    command: ["venv/bin/python", "with_requests.py"],
    dialect: 2,
    limit: /spend_controls\.max_amount_per_payment/,
    cookies: true,
  },
  {
    name: "x402-fetch",
    registry: "npm",
    folder: "npm-v1",
    command: ["node", "x402-fetch.mjs"],
    dialect: 1,
    limit: /exceeds maximum allowed/,
  },
  {
    name: "x402-fetch, browser rules",
    registry: "npm",
    folder: "npm-v1",
    command: ["node", "x402-fetch.mjs", "browser"],
    browser: true,
    dialect: 1,
    limit: /exceeds maximum allowed/,
  },
  { name: "x402-axios", registry: "npm", folder: "npm-v1", command: ["node", "x402-axios.mjs"], dialect: 1 },
  {
    name: "x402 with httpx",
    registry: "PyPI",
    folder: "pypi-v1",
    command: ["venv/bin/python", "with_httpx.py"],
    dialect: 1,
    limit: /exceeds maximum allowed/,
  },
  {
    name: "x402 with requests",
    registry: "PyPI",
    folder: "pypi-v1",
    command: ["venv/bin/python", "with_requests.py"],
    dialect: 1,
    limit: /exceeds maximum allowed/,
  },
];
