// x402-rs's facilitator on the lab's chain, paid by signatures made by hand.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { generatePrivateKey, privateKeyToAccount } from "../../../chain/accounts.mjs";
import { authorization, payloadOf } from "../../../chain/authorization.mjs";
import { facilitatorKey, startChain } from "../../../chain/chain.mjs";
import { newWallet } from "../../../chain/wallet.mjs";
import { DIALECTS, envelopeOf, post as postTo, PRICE, requirementsOf, signedEnvelope } from "../../dialects.mjs";
import { startFacilitator } from "../facilitator.mjs";

const FUNDS = 1_000_000n;
const HOUR = 3600n;
const seller = newAccount().address;
let chain;
let facilitator;

before(async () => {
  chain = await startChain();
  facilitator = await startFacilitator({ rpc: chain.url, key: facilitatorKey(0) });
});
after(async () => {
  await facilitator?.stop();
  await chain?.stop();
});

function newAccount() {
  return privateKeyToAccount(generatePrivateKey());
}

async function newPayer(funds = FUNDS) {
  const payer = newAccount();
  await chain.mint(payer.address, funds);
  return payer;
}

function post(path, body) {
  return postTo(`${facilitator.url}${path}`, body);
}

function now() {
  return BigInt(Math.floor(Date.now() / 1000));
}

/** What it answers when the chain reverts what it tries: a status and a code as of an outage, and an empty payer. */
function reverted(text) {
  const details = new RegExp(`^server returned an error response: error code 3: execution reverted: ${text}`);
  return {
    verify: { status: 500, isValid: false, payer: "", invalidReason: "unexpected_error", details },
    settle: {
      status: 500,
      success: false,
      network: "",
      transaction: "",
      payer: "",
      errorReason: "unexpected_error",
      details,
    },
  };
}

function refused(code, details) {
  return {
    verify: { status: 400, isValid: false, payer: "", invalidReason: code, details },
    settle: { status: 400, success: false, network: "", transaction: "", payer: "", errorReason: code, details },
  };
}

async function assertAnswers(payment, expected) {
  const { invalidReasonDetails, ...verified } = await post("/verify", payment);
  const { errorMessage, ...settled } = await post("/settle", payment);
  const { details, ...verify } = expected.verify;
  const { details: _, ...settle } = expected.settle;
  assert.deepEqual([verified, settled], [verify, settle]);
  assert.match(invalidReasonDetails, details);
  assert.match(errorMessage, details);
}

test("it says what it supports", async () => {
  const { kinds, extensions, signers } = await (await fetch(`${facilitator.url}/supported`)).json();
  assert.deepEqual(
    kinds.sort((one, other) => other.x402Version - one.x402Version),
    [
      { x402Version: 2, scheme: "exact", network: "eip155:84532", extra: {} },
      { x402Version: 1, scheme: "exact", network: "base-sepolia" },
    ],
  );
  assert.deepEqual(extensions, []);
  assert.deepEqual(signers, { "eip155:84532": [privateKeyToAccount(facilitatorKey(0)).address] });
});

for (const [name, dialect] of Object.entries(DIALECTS)) {
  const { network } = dialect;

  test(`${name}: a payment is verified, settled, and not settled again`, async () => {
    const payer = await newPayer();
    const before = await chain.balance(seller);
    const payment = await signedEnvelope(dialect, payer, seller);

    assert.deepEqual(await post("/verify", payment), { status: 200, isValid: true, payer: payer.address });
    assert.equal(await chain.balance(payer.address), FUNDS, "verifying moves nothing");

    const { transaction, ...settled } = await post("/settle", payment);
    assert.deepEqual(settled, { status: 200, success: true, network, payer: payer.address });
    assert.equal(await chain.balance(payer.address), FUNDS - PRICE);
    assert.equal(await chain.balance(seller), before + PRICE);
    const { nonce } = payment.paymentPayload.payload.authorization;
    const [event, ...others] = await chain.authorizationsUsed(payer.address, nonce);
    assert.deepEqual([event.transactionHash, others], [transaction, []]);

    await assertAnswers(payment, reverted("FiatTokenV2: authorization is used or canceled"));
    assert.equal(await chain.balance(seller), before + PRICE, "the second time moves nothing");
  });

  const REFUSALS = {
    "who owns too little": {
      funds: PRICE - 1n,
      answer: refused("insufficient_funds", /^Onchain balance is not enough/),
    },
    "an authorization that has expired": {
      changed: { validBefore: now() - HOUR },
      answer: refused("invalid_payment_expired", /^Payment authorization is expired$/),
    },
    "an authorization that is not valid yet": {
      changed: { validAfter: now() + HOUR, validBefore: now() + 2n * HOUR },
      answer: refused("invalid_payment_early", /^Payment authorization is not yet valid$/),
    },
    "less than the price": {
      changed: { value: PRICE - 1n },
      answer: refused("invalid_payment_amount", /^Payment amount is invalid/),
    },
    "a payment to somebody else": {
      changed: { to: newAccount().address },
      answer: refused("recipient_mismatch", /^Payment recipient is invalid/),
    },
    "somebody else's signature": {
      signer: newAccount(),
      answer: reverted("FiatTokenV2: invalid signature"),
    },
  };
  for (const [what, { funds, changed, signer, answer }] of Object.entries(REFUSALS)) {
    test(`${name}: ${what} is refused`, async () => {
      const payer = await newPayer(funds);
      const payment = await signedEnvelope(dialect, signer ?? payer, seller, { from: payer.address, ...changed });
      await assertAnswers(payment, answer);
      assert.deepEqual(await chain.authorizationsUsed(payer.address), []);
    });
  }

  test(`${name}: more than the price is taken`, async () => {
    const payer = await newPayer();
    const payment = await signedEnvelope(dialect, payer, seller, { value: PRICE + 1n });
    assert.equal((await post("/settle", payment)).success, true);
    assert.equal(await chain.balance(payer.address), FUNDS - PRICE - 1n);
  });

  test(`${name}: many payments at once are all settled`, async () => {
    const payers = Array.from({ length: 8 }, newAccount);
    for (const { address } of payers) await chain.mint(address, FUNDS);
    const payments = await Promise.all(payers.map((payer) => signedEnvelope(dialect, payer, seller)));
    const settled = await Promise.all(payments.map((payment) => post("/settle", payment)));
    assert.deepEqual(
      settled.filter(({ success }) => !success),
      [],
    );
    for (const { address } of payers) assert.equal(await chain.balance(address), FUNDS - PRICE);
  });

  test(`${name}: a smart account pays, deployed or not`, async () => {
    const wallet = await newWallet(chain, FUNDS);
    const pay = async (shape) => {
      const message = authorization({ from: wallet.address, to: seller, value: PRICE });
      const payload = payloadOf(message, shape(await wallet.sign(message)));
      return envelopeOf(dialect, requirementsOf(dialect, seller), { payload });
    };

    const first = await pay(wallet.wrap);
    assert.deepEqual(await post("/verify", first), { status: 200, isValid: true, payer: wallet.address });
    assert.equal((await post("/settle", first)).success, true);
    assert.notEqual(await chain.reader.getCode({ address: wallet.address }), undefined, "it has been deployed");
    const second = await pay((signature) => signature);
    assert.deepEqual(await post("/verify", second), { status: 200, isValid: true, payer: wallet.address });
    assert.equal((await post("/settle", second)).success, true);
    assert.equal(await chain.balance(wallet.address), FUNDS - 2n * PRICE);
  });
}

test("a network and a scheme that it does not have are refused", async () => {
  const payment = await signedEnvelope(DIALECTS.v2, await newPayer(), seller);
  for (const change of [{ network: "eip155:1" }, { scheme: "upto" }]) {
    const accepted = { ...payment.paymentRequirements, ...change };
    const changed = {
      ...payment,
      paymentPayload: { ...payment.paymentPayload, accepted },
      paymentRequirements: accepted,
    };
    await assertAnswers(changed, refused("unsupported_scheme", /^Unsupported scheme$/));
  }
});

test("what it cannot read it says so", async () => {
  assert.deepEqual(await post("/verify", "hello"), {
    status: 400,
    text: "Failed to parse the request body as JSON: expected value at line 1 column 1",
  });
  await assertAnswers({}, refused("unsupported_scheme", /^Unsupported scheme$/));
  const payment = await signedEnvelope(DIALECTS.v2, await newPayer(), seller);
  payment.paymentPayload.payload = {};
  await assertAnswers(payment, refused("invalid_format", /^Invalid format: /));
  assert.equal((await fetch(`${facilitator.url}/nowhere`)).status, 404);
});

test("it ends when told to", async () => {
  const other = await startFacilitator({ rpc: chain.url, key: facilitatorKey(3) });
  assert.equal(await other.stop(), 0);
  await assert.rejects(fetch(`${other.url}/supported`));
});

test("a key that is none is an error at once", async () => {
  await assert.rejects(startFacilitator({ rpc: chain.url, key: "0x1" }), /has ended with 1/);
});
