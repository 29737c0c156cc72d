// The official facilitator on the lab's ledger, paid by the official client's signatures.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createKeyPairSignerFromBytes, getBase58Encoder } from "@solana/kit";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { ExactSvmSchemeV1 } from "@x402/svm/exact/v1/client";
import { NETWORK, NETWORK_V1, startSolana } from "../../../solana/solana.mjs";
import { startFacilitator } from "../facilitator.mjs";

const MINT = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU";
const PRICE = 10_000n;
const FUNDS = 1_000_000n;
let solana;
let facilitator;
let feePayer;
let seller;

before(async () => {
  solana = await startSolana();
  feePayer = await solana.newWallet({ lamports: 10n ** 9n });
  seller = await solana.newWallet();
  facilitator = await startFacilitator({ rpc: solana.rpc, key: feePayer.secretKey });
});
after(async () => {
  await facilitator?.stop();
  await solana?.stop();
});

/** Both versions of the protocol: the terms, what the official client makes of them, and words that differ. */
const VERSIONS = [
  {
    version: 2,
    network: NETWORK,
    terms: { amount: String(PRICE) },
    Scheme: ExactSvmScheme,
    envelope: (requirements, { payload }) => ({ x402Version: 2, accepted: requirements, payload }),
    simulation: "invalid_exact_svm_transaction_simulation_failed",
    stranger: "invalid_exact_svm_fee_payer_not_managed_by_facilitator",
  },
  {
    version: 1,
    network: NETWORK_V1,
    terms: { maxAmountRequired: String(PRICE), resource: "http://127.0.0.1/", description: "", mimeType: "" },
    Scheme: ExactSvmSchemeV1,
    envelope: ({ scheme, network }, { payload }) => ({ x402Version: 1, scheme, network, payload }),
    simulation: "transaction_simulation_failed",
    stranger: "fee_payer_not_managed_by_facilitator",
  },
];

/** What the gateway would send to a facilitator; `signed` are the terms that the client saw, where they are others. */
async function paymentOf({ version, network, terms, Scheme, envelope }, payer, signed = {}) {
  const extra = { feePayer: feePayer.address };
  const base = { scheme: "exact", network, asset: MINT, payTo: seller.address, maxTimeoutSeconds: 300, extra };
  const requirements = { ...base, ...terms };
  const signer = await createKeyPairSignerFromBytes(getBase58Encoder().encode(payer.secretKey));
  const payment = await new Scheme(signer, { rpcUrl: solana.rpc }).createPaymentPayload(version, {
    ...requirements,
    ...signed,
  });
  return {
    x402Version: version,
    paymentPayload: envelope(requirements, payment),
    paymentRequirements: requirements,
  };
}

async function post(path, body) {
  const response = await fetch(`${facilitator.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, ...(await response.json()) };
}

test("it says what it supports, and who pays the fees", async () => {
  const { kinds, signers } = await (await fetch(`${facilitator.url}/supported`)).json();
  const extra = { feePayer: feePayer.address };
  assert.deepEqual(
    kinds.filter(({ network }) => [NETWORK, NETWORK_V1].includes(network)),
    [
      { x402Version: 2, scheme: "exact", network: NETWORK, extra },
      { x402Version: 1, scheme: "exact", network: NETWORK_V1, extra },
    ],
  );
  assert.deepEqual(signers, { "solana:*": [feePayer.address] });
});

for (const dialect of VERSIONS) {
  const { version, network } = dialect;

  test(`v${version}: a payment is verified, settled, and not settled again`, async () => {
    const payer = await solana.newWallet({ funds: FUNDS });
    const before = await solana.balance(seller.address);
    const payment = await paymentOf(dialect, payer);

    assert.deepEqual(await post("/verify", payment), { status: 200, isValid: true, payer: payer.address });
    assert.equal(await solana.balance(payer.address), FUNDS, "verifying moves nothing");

    const { transaction, ...settled } = await post("/settle", payment);
    assert.deepEqual(settled, { status: 200, success: true, network, payer: payer.address });
    const moved = [await solana.balance(payer.address), await solana.balance(seller.address)];
    assert.deepEqual(moved, [FUNDS - PRICE, before + PRICE]);
    const signatures = (await solana.transfers(payer.address)).map(({ signature }) => signature);
    assert.deepEqual(signatures, [transaction]);

    const again = await post("/settle", payment);
    assert.deepEqual([again.success, again.errorReason, again.transaction], [false, "duplicate_settlement", ""]);
    const verified = await post("/verify", payment);
    assert.deepEqual([verified.isValid, verified.invalidReason], [false, dialect.simulation]);
    assert.equal(await solana.balance(payer.address), FUNDS - PRICE, "the second time moves nothing");
  });

  test(`v${version}: what does not pay is refused before anything is sent`, async () => {
    const refusals = [
      [{ amount: "1", maxAmountRequired: "1" }, FUNDS, "invalid_exact_svm_payload_amount_mismatch"],
      [{ payTo: feePayer.address }, FUNDS, "invalid_exact_svm_payload_recipient_mismatch"],
      [{ extra: { feePayer: seller.address } }, FUNDS, "invalid_exact_svm_fee_payer_mismatch"],
      [{}, PRICE - 1n, dialect.simulation],
    ];
    for (const [signed, funds, code] of refusals) {
      const payer = await solana.newWallet({ funds });
      const payment = await paymentOf(dialect, payer, signed);
      const verified = await post("/verify", payment);
      assert.deepEqual([verified.status, verified.isValid, verified.invalidReason], [200, false, code]);
      const settled = await post("/settle", payment);
      assert.deepEqual([settled.success, settled.errorReason, settled.transaction], [false, code, ""]);
      assert.deepEqual(await solana.transfers(payer.address), []);
    }
  });

  test(`v${version}: what is too old is refused before anything is sent`, async () => {
    const payer = await solana.newWallet({ funds: FUNDS });
    const payment = await paymentOf(dialect, payer);
    await solana.expireBlockhash();
    const { success, errorReason, transaction } = await post("/settle", payment);
    assert.deepEqual([success, errorReason, transaction], [false, dialect.simulation, ""]);
    assert.equal(await solana.balance(payer.address), FUNDS);
  });

  test(`v${version}: another's fee payer is none of its own`, async () => {
    const payment = await paymentOf(dialect, await solana.newWallet({ funds: FUNDS }));
    payment.paymentRequirements.extra = { feePayer: seller.address };
    assert.equal((await post("/verify", payment)).invalidReason, dialect.stranger);
  });
}

test("it ends when told to", async () => {
  const other = await startFacilitator({ rpc: solana.rpc, key: feePayer.secretKey });
  assert.equal(await other.stop(), 0);
  await assert.rejects(fetch(`${other.url}/supported`));
});
