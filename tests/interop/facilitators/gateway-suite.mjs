// The built gateway between its own client and a facilitator: what was paid is what the chain says, and what was
// refused is refused in x402's terms.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PRICE } from "./dialects.mjs";
import { FUNDS, Lab, newAccount, SETTLE_MODES } from "./gateway-lab.mjs";

const HOUR = 3600n;
const FLAGS = { v2: [], v1: ["--v1"] };
/** What facilitators and chains say among themselves, and a client need not know. */
const INTERNALS = /revert|FiatToken|ECRecover|unexpected_error|error response|0x08c379a0/;

/** What is refused, and the code that every client is told it by. Some of it the gateway sees by itself. */
const REFUSALS = {
  "too little money": { code: /^insufficient_funds$/, pay: (lab) => lab.signed({ funds: PRICE - 1n }) },
  "an expired authorization": {
    code: /^invalid_exact_evm_payload_authorization_valid_before$/,
    pay: (lab) => lab.signed({ validBefore: now() - HOUR }),
  },
  "an authorization that is not valid yet": {
    code: /^invalid_exact_evm_payload_authorization_valid_after$/,
    pay: (lab) => lab.signed({ validAfter: now() + HOUR, validBefore: now() + 2n * HOUR }),
  },
  "a wrong amount": {
    code: /^invalid_exact_evm_payload_authorization_value_mismatch$/,
    pay: (lab) => lab.signed({ value: PRICE - 1n }),
  },
  "a wrong recipient": {
    code: /^invalid_exact_evm_recipient_mismatch$/,
    pay: (lab) => lab.signed({ to: newAccount().address }),
  },
  "somebody else's signature": {
    code: /^invalid_exact_evm_signature$/,
    pay: (lab) => lab.signed({ signer: newAccount() }),
  },
  "a smart account's wrong signature": {
    code: /^invalid_exact_evm_signature$/,
    pay: (lab) => lab.signedByWallet({ signer: newAccount(), deployed: true }),
  },
  "a wrong signature of a smart account that is not deployed": {
    // A facilitator may see no more than that the transfer, tried behind the deployment, is reverted.
    code: /^(invalid_exact_evm_signature|unexpected_(verify|settle)_error)$/,
    pay: (lab) => lab.signedByWallet({ signer: newAccount() }),
  },
  "a nonce that was used elsewhere": {
    code: /^invalid_exact_evm_nonce_already_used$/,
    pay: (lab) => lab.spentElsewhere(),
  },
};

/** Registers the tests of a gateway with the facilitator that `start` starts on the chain that it is given. */
export function testGateway(start) {
  const lab = new Lab(start);
  before(() => lab.start());
  after(() => lab.stop());

  for (const [dialect, flags] of Object.entries(FLAGS)) {
    for (const settle of SETTLE_MODES) {
      test(`${dialect}, ${settle}: the price moves, once, and the ledger agrees`, async () => {
        const payer = await lab.newPayer();
        const before = await lab.chain.balance(lab.seller);
        const { code, answer } = await lab.pay(settle, flags, payer);
        assert.deepEqual([code, answer.status, answer.body], [0, 200, "goods"]);
        assert.equal(await lab.chain.balance(payer.address), FUNDS - PRICE);
        assert.equal(await lab.chain.balance(lab.seller), before + PRICE);
        const [event, ...others] = await lab.chain.authorizationsUsed(payer.address);
        assert.deepEqual(others, []);
        assert.equal(answer.settlement.transaction, event.transactionHash);
        const [row, ...rows] = await lab.payments(payer.address);
        assert.deepEqual(
          [row.state, row.transaction, row.amount, rows],
          ["settled", event.transactionHash, String(PRICE), []],
        );
      });
    }

    test(`${dialect}: an upstream's failure costs nothing`, async () => {
      const payer = await lab.newPayer();
      const { code, answer } = await lab.pay("broken", flags, payer);
      assert.deepEqual([code, answer.status], [1, 500]);
      assert.equal(await lab.chain.balance(payer.address), FUNDS);
      assert.deepEqual(await lab.chain.authorizationsUsed(payer.address), []);
    });

    for (const settle of SETTLE_MODES) {
      for (const [what, { code, pay }] of Object.entries(REFUSALS)) {
        test(`${dialect}, ${settle}: ${what} is refused`, async () => {
          const payload = await pay(lab);
          const used = await lab.chain.authorizationsUsed(payload.authorization.from);
          const refused = await lab.send(`/${settle}`, dialect, payload);
          assert.equal(refused.status, 402, refused.body);
          assert.equal(refused.settlement.success, false);
          assert.match(refused.settlement.errorReason, code);
          assert.doesNotMatch(refused.body, INTERNALS);
          assert.deepEqual(await lab.chain.authorizationsUsed(payload.authorization.from), used);
        });
      }
    }
  }

  test("a smart account that is not deployed yet pays", async () => {
    const payload = await lab.signedByWallet({});
    const { from } = payload.authorization;
    const paid = await lab.send("/on-success", "v2", payload);
    assert.deepEqual([paid.status, paid.body, paid.settlement.payer], [200, "goods", from]);
    assert.equal(await lab.chain.balance(from), FUNDS - PRICE);
  });

  test("whatever was refused, the facilitator is up, and the next one pays", async () => {
    for (const settle of SETTLE_MODES) {
      for (const { pay } of Object.values(REFUSALS)) await lab.send(`/${settle}`, "v2", await pay(lab));
      const { up, last_error } = await lab.facilitatorHealth();
      assert.deepEqual([up, last_error], [true, null], settle);
      const paid = await lab.send(`/${settle}`, "v2", await lab.signed({}));
      assert.deepEqual([paid.status, paid.body], [200, "goods"], settle);
    }
  });
}

function now() {
  return BigInt(Math.floor(Date.now() / 1000));
}
