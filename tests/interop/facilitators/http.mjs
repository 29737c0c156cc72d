// The official facilitators behind plain HTTP: /verify, /settle and /supported.

import { serveJson } from "../chain/service.mjs";

/** Serves an `x402Facilitator`. Statuses as the official example has them: what the SDK throws is a 500. */
export function serveFacilitator(facilitator) {
  serveJson(async (asked, body) => {
    switch (asked) {
      case "GET /supported":
        return [200, facilitator.getSupported()];
      case "POST /verify":
        return judged(body, (payment, requirements) => facilitator.verify(payment, requirements));
      case "POST /settle":
        return judged(body, (payment, requirements) => facilitator.settle(payment, requirements));
      default:
        return [404, { error: "no such path" }];
    }
  });
}

async function judged(body, judge) {
  if (body === undefined) return [400, { error: "Not JSON" }];
  const { paymentPayload, paymentRequirements } = body ?? {};
  if (!paymentPayload || !paymentRequirements) return [400, { error: "Missing paymentPayload or paymentRequirements" }];
  return [200, await judge(paymentPayload, paymentRequirements)];
}
