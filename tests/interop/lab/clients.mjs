// The clients of the lab. Each is a program beside its lock file; what is said of it here is what its own
// documentation promises, and what the checks rest on.

/**
 * - `name`, `registry`: as people find it; the version is asked of the installed package.
 * - `folder`, `command`: where and how it is started; `part`: what is installed for it, where that is not the folder.
 * - `families`: of the networks that it pays on; EVM alone where left out.
 * - `versions`: the x402 versions that it speaks; the first is the one that it speaks to a gateway that speaks both.
 * - `browser`: whether it keeps a browser's CORS rules, as a script of another origin.
 * - `limit`: what its own error says above its own spending limit; left out where it has none.
 * - `cookies`: whether it keeps the cookies of a paid answer, by the means that its users have: its own session, or a
 *   jar from npm around its `fetch` or axios.
 * - `unpaid`: how many requests without a payment go before one that pays; 1 where left out.
 * - `unreadable`: what its own function says of every settlement that has failed, where it cannot read them.
 * - `persists`: whether it signs a new payment when one was refused.
 */
export const CLIENTS = [
  {
    name: "@x402/fetch",
    registry: "npm",
    folder: "npm-v2",
    command: ["node", "x402-fetch.mjs"],
    versions: [2, 1],
    limit: /spendControls\.maxAmountPerPayment/,
    cookies: true,
  },
  {
    name: "@x402/fetch, browser rules",
    registry: "npm",
    folder: "npm-v2",
    command: ["node", "x402-fetch.mjs", "browser"],
    browser: true,
    versions: [2, 1],
    limit: /spendControls\.maxAmountPerPayment/,
  },
  {
    name: "@x402/axios",
    registry: "npm",
    folder: "npm-v2-axios",
    command: ["node", "x402-axios.mjs"],
    versions: [2, 1],
    cookies: true,
  },
  {
    name: "thirdweb",
    registry: "npm",
    folder: "npm-thirdweb",
    command: ["node", "thirdweb.mjs"],
    versions: [2, 1],
    limit: /exceeds maximum allowed/,
    cookies: true,
  },
  { name: "viem, by hand", registry: "npm", folder: "npm-v2", command: ["node", "viem.mjs"], versions: [2, 1] },
  { name: "ethers, by hand", registry: "npm", folder: "npm-ethers", command: ["node", "ethers.mjs"], versions: [2, 1] },
  {
    name: "x402 with httpx",
    registry: "PyPI",
    folder: "pypi-v2",
    command: ["venv/bin/python", "with_httpx.py"],
    versions: [2, 1],
    limit: /spend_controls\.max_amount_per_payment/,
    cookies: true,
  },
  {
    name: "x402 with requests",
    registry: "PyPI",
    folder: "pypi-v2",
    command: ["venv/bin/python", "with_requests.py"],
    versions: [2, 1],
    limit: /spend_controls\.max_amount_per_payment/,
    cookies: true,
  },
  {
    name: "x402-fetch",
    registry: "npm",
    folder: "npm-v1",
    command: ["node", "x402-fetch.mjs"],
    versions: [1],
    limit: /exceeds maximum allowed/,
    cookies: true,
  },
  {
    name: "x402-fetch, browser rules",
    registry: "npm",
    folder: "npm-v1",
    command: ["node", "x402-fetch.mjs", "browser"],
    browser: true,
    versions: [1],
    limit: /exceeds maximum allowed/,
  },
  {
    name: "x402-axios",
    registry: "npm",
    folder: "npm-v1",
    command: ["node", "x402-axios.mjs"],
    versions: [1],
    cookies: true,
  },
  {
    name: "x402 with httpx",
    registry: "PyPI",
    folder: "pypi-v1",
    command: ["venv/bin/python", "with_httpx.py"],
    versions: [1],
    limit: /exceeds maximum allowed/,
  },
  {
    name: "x402 with requests",
    registry: "PyPI",
    folder: "pypi-v1",
    command: ["venv/bin/python", "with_requests.py"],
    versions: [1],
    limit: /exceeds maximum allowed/,
  },
  {
    name: "HTTPayer",
    registry: "PyPI",
    folder: "pypi-httpayer",
    command: ["venv/bin/python", "with_httpayer.py"],
    versions: [1],
    // It asks by itself first, then by the client that pays.
    unpaid: 2,
    persists: true,
  },
  {
    name: "x402-reqwest",
    registry: "crates.io",
    folder: "rs",
    part: "rs",
    command: ["debug/client"],
    versions: [2, 1],
    cookies: true,
    // x402-types looks for a field by another name.
    unreadable: /^missing field `error_reason`/,
  },
  {
    name: "@x402/svm",
    registry: "npm",
    folder: "npm-svm",
    command: ["node", "x402-fetch.mjs"],
    versions: [2, 1],
    families: ["solana"],
  },
];
