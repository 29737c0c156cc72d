// The ledger as a wallet and a facilitator see it: through its JSON-RPC alone.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  TOKEN_PROGRAM_ADDRESS,
  fetchMint,
  fetchToken,
  findAssociatedTokenPda,
  getTransferCheckedInstruction,
} from "@solana-program/token";
import {
  appendTransactionMessageInstruction,
  createKeyPairSignerFromBytes,
  createSolanaRpc,
  createTransactionMessage,
  getBase58Encoder,
  getBase64EncodedWireTransaction,
  partiallySignTransactionMessageWithSigners,
  pipe,
  setTransactionMessageFeePayer,
  setTransactionMessageFeePayerSigner,
  setTransactionMessageLifetimeUsingBlockhash,
} from "@solana/kit";
import { startSolana } from "../solana.mjs";

const MINT = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU";
const FUNDS = 1_000_000n;
const BAD_SIGNATURE = { context: { __code: -32003 } };
/** What the token's program says of too little. */
const TOO_LITTLE = { InstructionError: [0n, { Custom: 1n }] };
const IN_BASE64 = { encoding: "base64" };
let solana;
let rpc;
let feePayer;
let payer;
let seller;

before(async () => {
  solana = await startSolana();
  rpc = createSolanaRpc(solana.rpc);
  feePayer = await solana.newWallet({ lamports: 10n ** 9n });
});
after(() => solana?.stop());

/** A payer and a seller of this test alone. */
async function newParties() {
  payer = await solana.newWallet({ funds: FUNDS });
  seller = await solana.newWallet();
}

function signerOf({ secretKey }) {
  return createKeyPairSignerFromBytes(getBase58Encoder().encode(secretKey));
}

async function tokenAccountOf({ address }) {
  const [account] = await findAssociatedTokenPda({ owner: address, mint: MINT, tokenProgram: TOKEN_PROGRAM_ADDRESS });
  return account;
}

/** A transfer in base64, signed by the payer and, unless `unpaid`, by who pays its fee. */
async function transfer(amount, { unpaid = false } = {}) {
  const { value: blockhash } = await rpc.getLatestBlockhash().send();
  const payFee = unpaid
    ? (message) => setTransactionMessageFeePayer(feePayer.address, message)
    : async (message) => setTransactionMessageFeePayerSigner(await signerOf(feePayer), message);
  const instruction = getTransferCheckedInstruction({
    source: await tokenAccountOf(payer),
    mint: MINT,
    destination: await tokenAccountOf(seller),
    authority: await signerOf(payer),
    amount,
    decimals: 6,
  });
  const message = pipe(
    await payFee(createTransactionMessage({ version: 0 })),
    (started) => setTransactionMessageLifetimeUsingBlockhash(blockhash, started),
    (started) => appendTransactionMessageInstruction(instruction, started),
  );
  return getBase64EncodedWireTransaction(await partiallySignTransactionMessageWithSigners(message));
}

/** As facilitators send: nobody tries it first. */
function send(transaction) {
  return rpc.sendTransaction(transaction, { ...IN_BASE64, skipPreflight: true }).send();
}

async function balances() {
  return [await solana.balance(payer.address), await solana.balance(seller.address)];
}

test("the token is devnet's USDC, and wallets own it", async () => {
  await newParties();
  const { data, programAddress } = await fetchMint(rpc, MINT);
  assert.deepEqual([data.decimals, programAddress], [6, TOKEN_PROGRAM_ADDRESS]);
  const { data: account } = await fetchToken(rpc, await tokenAccountOf(payer));
  assert.deepEqual([account.owner, account.mint, account.amount], [payer.address, MINT, FUNDS]);
  const { value } = await rpc.getTokenAccountBalance(await tokenAccountOf(payer)).send();
  assert.deepEqual([value.amount, value.decimals, value.uiAmountString], [String(FUNDS), 6, "1"]);
  assert.equal((await rpc.getBalance(feePayer.address).send()).value, 10n ** 9n);
  const stranger = "11111111111111111111111111111112";
  const { value: accounts } = await rpc.getMultipleAccounts([MINT, stranger], IN_BASE64).send();
  assert.deepEqual([accounts[0].owner, accounts[1]], [TOKEN_PROGRAM_ADDRESS, null]);
});

test("a transfer moves what it says, once, however often it is sent", async () => {
  await newParties();
  const transaction = await transfer(10_000n);
  const signature = await send(transaction);
  const { value } = await rpc.getSignatureStatuses([signature]).send();
  assert.deepEqual([value[0].confirmationStatus, value[0].err], ["finalized", null]);
  assert.equal(await send(transaction), signature);
  assert.deepEqual(await balances(), [FUNDS - 10_000n, 10_000n]);
  const [{ signature: seen, moved }, ...others] = await solana.transfers(seller.address);
  assert.deepEqual([seen, others], [signature, []]);
  const expected = { [payer.address]: -10_000n, [seller.address]: 10_000n };
  assert.deepEqual(Object.fromEntries(moved.map(({ owner, amount }) => [owner, amount])), expected);
  await assert.rejects(solana.call("sendTransaction", transaction, IN_BASE64), /AlreadyProcessed/);
});

test("trying moves nothing, needs no fee payer's signature, and tells what was spent", async () => {
  await newParties();
  const transaction = await transfer(10_000n, { unpaid: true });
  const tried = await rpc.simulateTransaction(transaction, IN_BASE64).send();
  assert.equal(tried.value.err, null);
  assert.deepEqual(await balances(), [FUNDS, 0n]);
  const whole = await transfer(10_000n);
  await send(whole);
  assert.equal((await rpc.simulateTransaction(whole, IN_BASE64).send()).value.err, "AlreadyProcessed");
});

test("what is not signed by all, or signed wrongly, is refused", async () => {
  await newParties();
  await assert.rejects(send(await transfer(10_000n, { unpaid: true })), BAD_SIGNATURE);
  const forged = Buffer.from(await transfer(10_000n), "base64");
  const aByteOfTheSecondSignature = 1 + 64 + 7;
  forged[aByteOfTheSecondSignature] ^= 1;
  await assert.rejects(send(forged.toString("base64")), BAD_SIGNATURE);
  assert.deepEqual(await balances(), [FUNDS, 0n]);
});

test("what is too dear fails, and is seen to have failed", async () => {
  await newParties();
  const transaction = await transfer(FUNDS + 1n);
  const { value: tried } = await rpc.simulateTransaction(transaction, IN_BASE64).send();
  assert.deepEqual(tried.err, TOO_LITTLE);
  const { value } = await rpc.getSignatureStatuses([await send(transaction)]).send();
  assert.deepEqual(value[0].err, TOO_LITTLE);
  assert.deepEqual(await balances(), [FUNDS, 0n]);
});

test("what is too old is in no block", async () => {
  await newParties();
  const transaction = await transfer(10_000n);
  await solana.expireBlockhash();
  const { value: tried } = await rpc.simulateTransaction(transaction, IN_BASE64).send();
  assert.equal(tried.err, "BlockhashNotFound");
  const { value } = await rpc.getSignatureStatuses([await send(transaction)]).send();
  assert.deepEqual(value, [null]);
  assert.deepEqual(await balances(), [FUNDS, 0n]);
  const renewed = { ...IN_BASE64, replaceRecentBlockhash: true };
  assert.equal((await rpc.simulateTransaction(transaction, renewed).send()).value.err, null);
});

test("what it does not know it says so", async () => {
  await assert.rejects(solana.call("getNothing"), /Method not found/);
  await assert.rejects(solana.call("toString"), /Method not found/);
  await assert.rejects(solana.call("getAccountInfo", MINT, { encoding: "jsonParsed" }), /jsonParsed/);
  await assert.rejects(solana.call("sendTransaction", "AQ==", IN_BASE64));
  assert.equal((await fetch(`${solana.rpc}/nowhere`)).status, 404);
});

test("it ends when told to", async () => {
  const other = await startSolana();
  assert.equal(await other.stop(), 0);
  await assert.rejects(fetch(other.rpc));
});
