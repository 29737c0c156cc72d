// The official facilitator on the lab's chain, paid by the official client's signatures.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import { ExactEvmSchemeV1 } from "@x402/evm/exact/v1/client";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { authorization, payloadOf } from "../../../chain/authorization.mjs";
import { ADDRESSES, facilitatorKey, startChain } from "../../../chain/chain.mjs";
import { newWallet } from "../../../chain/wallet.mjs";
import { DIALECTS, envelopeOf, post as postTo, PRICE, requirementsOf } from "../../dialects.mjs";
import { startFacilitator } from "../facilitator.mjs";

const FUNDS = 1_000_000n;
const seller = privateKeyToAccount(generatePrivateKey()).address;
let chain;
let facilitator;

before(async () => {
  chain = await startChain();
  facilitator = await startFacilitator({
    rpc: chain.url,
    key: facilitatorKey(0),
    factories: [ADDRESSES.walletFactory],
  });
});
after(async () => {
  await facilitator?.stop();
  await chain?.stop();
});

/**
 * What the official client makes of the terms, and what a settlement says of a payment that is already used, and of one
 * that is not mined in time.
 */
const VERSIONS = [
  {
    ...DIALECTS.v2,
    pay: (payer, requirements) => new ExactEvmScheme(payer).createPaymentPayload(2, requirements),
    used: /^invalid_exact_evm_nonce_already_used$/,
    pending: { reason: /^settlement_pending$/, transaction: /^0x[0-9a-f]{64}$/ },
  },
  {
    ...DIALECTS.v1,
    pay: (payer, requirements) => new ExactEvmSchemeV1(payer).createPaymentPayload(1, requirements),
    // Here the SDK puts what viem threw where a code should be, and does not even name a transaction that it has sent.
    used: /FiatTokenV2: authorization is used or canceled/,
    pending: { reason: /^Timed out while waiting for transaction with hash/, transaction: /^$/ },
  },
];

/** What the gateway would send to a facilitator. */
async function paymentOf(dialect, payer) {
  const requirements = requirementsOf(dialect, seller);
  return envelopeOf(dialect, requirements, await dialect.pay(payer, requirements));
}

function post(path, body, url = facilitator.url) {
  return postTo(`${url}${path}`, body);
}

async function newPayer(funds = FUNDS) {
  const payer = privateKeyToAccount(generatePrivateKey());
  await chain.mint(payer.address, funds);
  return payer;
}

test("it says what it supports", async () => {
  const supported = await (await fetch(`${facilitator.url}/supported`)).json();
  const signer = privateKeyToAccount(facilitatorKey(0)).address;
  assert.deepEqual(supported, {
    kinds: [
      { x402Version: 2, scheme: "exact", network: "eip155:84532" },
      { x402Version: 1, scheme: "exact", network: "base-sepolia" },
    ],
    extensions: [],
    signers: { "eip155:*": [signer] },
  });
});

for (const dialect of VERSIONS) {
  const { version, network } = dialect;

  test(`v${version}: a payment is verified, settled, and not settled again`, async () => {
    const payer = await newPayer();
    const before = await chain.balance(seller);
    const payment = await paymentOf(dialect, payer);

    assert.deepEqual(await post("/verify", payment), { status: 200, isValid: true, payer: payer.address });
    assert.equal(await chain.balance(payer.address), FUNDS, "verifying moves nothing");

    const { transaction, ...settled } = await post("/settle", payment);
    assert.deepEqual(settled, { status: 200, success: true, network, payer: payer.address });
    assert.equal(await chain.balance(payer.address), FUNDS - PRICE);
    assert.equal(await chain.balance(seller), before + PRICE);
    const { nonce } = payment.paymentPayload.payload.authorization;
    const [event, ...others] = await chain.authorizationsUsed(payer.address, nonce);
    assert.deepEqual([event.transactionHash, others], [transaction, []]);

    const verified = await post("/verify", payment);
    assert.deepEqual([verified.isValid, verified.invalidReason], [false, "invalid_exact_evm_nonce_already_used"]);
    const again = await post("/settle", payment);
    assert.deepEqual([again.success, again.transaction], [false, ""]);
    assert.match(again.errorReason, dialect.used);
    assert.equal(await chain.balance(seller), before + PRICE, "the second time moves nothing");
  });

  test(`v${version}: who owns too little is refused`, async () => {
    const payer = await newPayer(PRICE - 1n);
    const { status, isValid, invalidReason } = await post("/verify", await paymentOf(dialect, payer));
    assert.deepEqual([status, isValid, invalidReason], [200, false, "invalid_exact_evm_insufficient_balance"]);
  });

  test(`v${version}: many payments at once are all settled`, async () => {
    const payers = Array.from({ length: 8 }, () => privateKeyToAccount(generatePrivateKey()));
    for (const { address } of payers) await chain.mint(address, FUNDS);
    const payments = await Promise.all(payers.map((payer) => paymentOf(dialect, payer)));
    const settled = await Promise.all(payments.map((payment) => post("/settle", payment)));
    assert.deepEqual(
      settled.filter(({ success }) => !success),
      [],
    );
    for (const { address } of payers) assert.equal(await chain.balance(address), FUNDS - PRICE);
  });

  test(`v${version}: a smart account pays, deployed or not`, async () => {
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

  test(`v${version}: a settlement that is not mined in time has an unknown outcome`, async () => {
    const impatient = await startFacilitator({ rpc: chain.url, key: facilitatorKey(version), receiptWaitMs: 100 });
    try {
      const payer = await newPayer();
      const payment = await paymentOf(dialect, payer);
      await chain.hold();
      const pending = await post("/settle", payment, impatient.url).finally(() => chain.release());
      assert.equal(pending.success, false);
      assert.match(pending.errorReason, dialect.pending.reason);
      assert.match(pending.transaction, dialect.pending.transaction);
      assert.equal(await chain.balance(payer.address), FUNDS - PRICE, "the money has moved all the same");
      const again = await post("/settle", payment, impatient.url);
      assert.deepEqual([again.success, again.transaction], [version === 2, pending.transaction], JSON.stringify(again));
      assert.equal(await chain.balance(payer.address), FUNDS - PRICE, "and only once");
    } finally {
      await impatient.stop();
    }
  });
}

test("what it cannot read it says so", async () => {
  const [dialect] = VERSIONS;
  const payment = await paymentOf(dialect, await newPayer());
  assert.equal((await post("/verify", "hello")).status, 400);
  assert.equal((await post("/settle", {})).status, 400);
  assert.equal((await post("/settle", "null")).status, 400);
  const elsewhere = { ...payment.paymentRequirements, network: "eip155:1" };
  assert.equal((await post("/verify", { ...payment, paymentRequirements: elsewhere })).status, 500);
  assert.equal((await fetch(facilitator.url)).status, 404);
});

test("it ends when told to", async () => {
  const other = await startFacilitator({ rpc: chain.url, key: facilitatorKey(3) });
  assert.equal(await other.stop(), 0);
  await assert.rejects(fetch(`${other.url}/supported`));
});

test("a key that is none is an error at once", async () => {
  await assert.rejects(startFacilitator({ rpc: chain.url, key: "0x1" }), /has ended with 1/);
});
