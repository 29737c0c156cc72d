// What the page has tables of, in this order.

import { FAILURES } from "./failures.mjs";
import { EVM, SOLANA } from "./matrix.mjs";
import { ROUTES } from "./routes.mjs";
import { WAYS } from "./ways.mjs";
import { WINDOWS } from "./windows.mjs";

/**
 * Each has a title, what it `says` of all its promises, and those:
 * - `name`: unique in its table.
 * - `parts`: what it cannot be tried without.
 * - `needs`: with which `{client, version, family}` it can be tried; left out for all.
 * - `says`: of what, where the name is not enough.
 * - `keep`: tries it at a place (place.mjs).
 */
export const TABLES = [
  {
    title: "Every facilitator and settle mode",
    says: `A payer who is new pays once: 200 with the backend's answer. The settlement that the client's own function
decodes has the transaction of the one \`AuthorizationUsed\` event. What the payer has less, and the seller more, is the
price.`,
    promises: EVM,
  },
  {
    title: "Solana",
    says: "The same on a Solana ledger: one transaction has moved the price.",
    promises: SOLANA,
  },
  {
    title: "Two ways to pay",
    says: `The same on routes that take USDC on both chains, in this order: every client pays on the one that it
knows. The terms of v1 have what all v1 clients can read, and nothing else: not Solana, where there is another way.`,
    promises: WAYS,
  },
  {
    title: "Requests of all kinds",
    says: `Each is paid for as above, and comes through whole. The backend sends an event when the one before has gone
by on its way to the client.`,
    promises: ROUTES,
  },
  {
    title: "Windows",
    says: "The second request costs nothing: the chain has one transfer.",
    promises: WINDOWS,
  },
  {
    title: "Failures",
    says: `The client gets a status, and a reason that a program can read, and signs no second payment. The chain has
what it should have: nothing, unless it says so here. x402-reqwest finds the reason in the body, since x402-types does
not read settlements that have failed. HTTPayer always signs once more when it is refused.`,
    promises: FAILURES,
  },
];
