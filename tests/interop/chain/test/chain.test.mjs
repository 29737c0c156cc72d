// The chain and its contracts, without any facilitator.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import {
  encodeAbiParameters,
  encodeFunctionData,
  hashTypedData,
  parseAbi,
  parseSignature,
  serializeErc6492Signature,
  zeroAddress,
} from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { DOMAIN, authorization, moveArguments, sign } from "../authorization.mjs";
import { ADDRESSES, startChain } from "../chain.mjs";
import { newWallet } from "../wallet.mjs";

const PRICE = 10_000n;
const FUNDS = 1_000_000n;
const seller = privateKeyToAccount(generatePrivateKey()).address;
const stranger = privateKeyToAccount(generatePrivateKey());
let chain;

before(async () => {
  chain = await startChain();
});
after(() => chain?.stop());

/** A new account that owns `FUNDS`. */
async function newPayer() {
  const payer = privateKeyToAccount(generatePrivateKey());
  await chain.mint(payer.address, FUNDS);
  return payer;
}

/** What stands behind a message in a call: the signature as one, or in three parts. */
const FORMS = {
  bytes: (signature) => [signature],
  "v, r, s": (signature) => {
    const { v, r, s } = parseSignature(signature);
    return [Number(v), r, s];
  },
};

function call(functionName, ...args) {
  return chain.send({ ...chain.token, functionName, args });
}

for (const [form, parts] of Object.entries(FORMS)) {
  test(`an authorization (${form}) moves money once`, async () => {
    const payer = await newPayer();
    const before = await chain.balance(seller);
    const message = authorization({ from: payer.address, to: seller, value: PRICE });
    const args = [...moveArguments(message), ...parts(await sign(payer, message))];

    await call("transferWithAuthorization", ...args);
    await assert.rejects(call("transferWithAuthorization", ...args), /FiatTokenV2: authorization is used or canceled/);

    assert.equal(await chain.balance(payer.address), FUNDS - PRICE);
    assert.equal(await chain.balance(seller), before + PRICE);
    assert.equal((await chain.authorizationsUsed(payer.address)).length, 1);
    assert.equal((await chain.authorizationsUsed(payer.address, message.nonce)).length, 1);
    const [{ args: moved }, ...others] = await chain.transfers(payer.address);
    assert.deepEqual([moved, others], [{ from: payer.address, to: seller, value: PRICE }, []]);
  });

  test(`a cancelled authorization (${form}) moves nothing`, async () => {
    const payer = await newPayer();
    const message = authorization({ from: payer.address, to: seller, value: PRICE });
    const cancellation = { authorizer: payer.address, nonce: message.nonce };
    const cancelled = parts(await sign(payer, cancellation, "CancelAuthorization"));

    const { logs } = await call("cancelAuthorization", payer.address, message.nonce, ...cancelled);
    assert.equal(logs.length, 1);
    await assert.rejects(
      call("cancelAuthorization", payer.address, message.nonce, ...cancelled),
      /FiatTokenV2: authorization is used or canceled/,
    );
    await assert.rejects(
      call("transferWithAuthorization", ...moveArguments(message), ...parts(await sign(payer, message))),
      /FiatTokenV2: authorization is used or canceled/,
    );
    assert.equal(await chain.balance(payer.address), FUNDS);
    assert.deepEqual(await chain.authorizationsUsed(payer.address), [], "cancelled is not used");
    const state = { ...chain.token, functionName: "authorizationState", args: [payer.address, message.nonce] };
    assert.equal(await chain.reader.readContract(state), true);
  });

  test(`only the payee can receive (${form})`, async () => {
    const payer = await newPayer();
    const payee = chain.sender.account.address;
    for (const [to, refused] of [
      [seller, true],
      [payee, false],
    ]) {
      const message = authorization({ from: payer.address, to, value: PRICE });
      const signature = parts(await sign(payer, message, "ReceiveWithAuthorization"));
      const received = call("receiveWithAuthorization", ...moveArguments(message), ...signature);
      if (refused) await assert.rejects(received, /FiatTokenV2: caller must be the payee/);
      else await received;
    }
    assert.equal(await chain.balance(payee), PRICE * BigInt(Object.keys(FORMS).indexOf(form) + 1));
  });
}

const LATER = 4_000_000_000n;
const REFUSED = [
  ["expired", { validBefore: 1n }, "FiatTokenV2: authorization is expired"],
  ["not yet valid", { validAfter: LATER, validBefore: LATER + 1n }, "FiatTokenV2: authorization is not yet valid"],
  ["more than there is", { value: FUNDS + 1n }, "ERC20: transfer amount exceeds balance"],
  ["to nobody", { to: zeroAddress }, "ERC20: transfer to the zero address"],
];
for (const [name, changed, reason] of REFUSED) {
  test(`refused: ${name}`, async () => {
    const payer = await newPayer();
    const message = authorization({ from: payer.address, to: seller, value: PRICE, ...changed });
    const args = [...moveArguments(message), await sign(payer, message)];
    await assert.rejects(call("transferWithAuthorization", ...args), new RegExp(reason));
    assert.equal(await chain.balance(payer.address), FUNDS);
  });
}

const FORGED = [
  ["another's", (message) => sign(stranger, message), "FiatTokenV2: invalid signature"],
  ["of another message", (message, payer) => sign(payer, { ...message, value: 1n }), "FiatTokenV2: invalid signature"],
  [
    "of another type",
    (message, payer) => sign(payer, message, "ReceiveWithAuthorization"),
    "FiatTokenV2: invalid signature",
  ],
  [
    "too short",
    async (message, payer) => (await sign(payer, message)).slice(0, -2),
    "ECRecover: invalid signature length",
  ],
  ["of no curve's point", () => `0x${"00".repeat(64)}1b`, "ECRecover: invalid signature"],
  ["with a large s", () => `0x${"11".repeat(32)}${"ff".repeat(32)}1b`, "ECRecover: invalid signature 's' value"],
  ["with a strange v", () => `0x${"11".repeat(64)}1d`, "ECRecover: invalid signature 'v' value"],
];
for (const [name, forge, reason] of FORGED) {
  test(`refused: a signature ${name}`, async () => {
    const payer = await newPayer();
    const message = authorization({ from: payer.address, to: seller, value: PRICE });
    const args = [...moveArguments(message), await forge(message, payer)];
    await assert.rejects(call("transferWithAuthorization", ...args), new RegExp(reason));
    assert.equal(await chain.balance(payer.address), FUNDS);
  });
}

test("allowances are spent", async () => {
  const { address } = chain.sender.account;
  await chain.mint(address, PRICE);
  const before = await chain.balance(address);
  await call("approve", address, PRICE);
  await call("transferFrom", address, seller, PRICE);
  await assert.rejects(call("transferFrom", address, seller, 1n), /ERC20: transfer amount exceeds allowance/);
  await call("transfer", seller, 0n);
  assert.equal(await chain.balance(address), before - PRICE);
});

test("a smart account's signature is the account's own to judge", async () => {
  const wallet = await newWallet(chain, FUNDS);
  const message = authorization({ from: wallet.address, to: seller, value: PRICE });
  const args = [...moveArguments(message), await wallet.sign(message)];
  await assert.rejects(call("transferWithAuthorization", ...args), /ECRecover: invalid signature length/);
  await wallet.deploy();
  const forged = [...moveArguments(message), await sign(stranger, message)];
  await assert.rejects(call("transferWithAuthorization", ...forged), /FiatTokenV2: invalid signature/);
  await call("transferWithAuthorization", ...args);
  assert.equal(await chain.balance(wallet.address), FUNDS - PRICE);
});

const VALIDATOR = {
  address: ADDRESSES.signatureValidator,
  abi: parseAbi([
    "function isValidSig(address signer, bytes32 hash, bytes signature) returns (bool)",
    "function isValidSigWithSideEffects(address signer, bytes32 hash, bytes signature) returns (bool)",
    "error ERC6492DeployFailed(bytes reason)",
  ]),
};

test("the validator judges every kind of signature", async () => {
  const wallet = await newWallet(chain, FUNDS);
  const payer = await newPayer();
  const typed = {
    domain: DOMAIN,
    types: { Note: [{ name: "text", type: "string" }] },
    primaryType: "Note",
    message: { text: "x" },
  };
  const hash = hashTypedData(typed);
  const [good, bad] = [await wallet.owner.signTypedData(typed), await stranger.signTypedData(typed)];
  const judge = async (functionName, signer, signature) => {
    const { result } = await chain.reader.simulateContract({
      ...VALIDATOR,
      functionName,
      args: [signer, hash, signature],
    });
    return result;
  };
  for (const functionName of ["isValidSig", "isValidSigWithSideEffects"]) {
    assert.equal(await judge(functionName, payer.address, await payer.signTypedData(typed)), true);
    assert.equal(await judge(functionName, payer.address, bad), false);
    assert.equal(await judge(functionName, wallet.address, wallet.wrap(good)), true);
    assert.equal(await judge(functionName, wallet.address, wallet.wrap(bad)), false);
    const broken = serializeErc6492Signature({ address: ADDRESSES.permit2, data: "0x01", signature: good });
    await assert.rejects(judge(functionName, wallet.address, broken), /ERC6492DeployFailed/);
  }
  const args = [wallet.address, hash, wallet.wrap(good)];
  const deployed = async () => (await chain.reader.getCode({ address: wallet.address })) !== undefined;
  await chain.send({ ...VALIDATOR, functionName: "isValidSig", args });
  assert.equal(await deployed(), false);
  await chain.send({ ...VALIDATOR, functionName: "isValidSigWithSideEffects", args });
  assert.equal(await deployed(), true);
  assert.equal(await judge("isValidSig", wallet.address, wallet.wrap(good)), true);
  assert.equal(await judge("isValidSig", wallet.address, good), true);
  assert.equal(await judge("isValidSig", wallet.address, bad), false);
});

test("many calls in one, each with its own outcome", async () => {
  const abi = parseAbi([
    "function tryAggregate(bool, (address, bytes)[]) payable returns ((bool, bytes)[])",
    "function aggregate3((address, bool, bytes)[]) payable returns ((bool, bytes)[])",
  ]);
  const decimals = encodeFunctionData({ ...chain.token, functionName: "decimals" });
  const [works, fails] = [
    [ADDRESSES.token, decimals],
    [ADDRESSES.permit2, "0x01"],
  ];
  const simulate = async (functionName, args) =>
    (await chain.reader.simulateContract({ address: ADDRESSES.multicall, abi, functionName, args })).result;
  const six = encodeAbiParameters([{ type: "uint8" }], [6]);
  const [first, second] = await simulate("tryAggregate", [false, [works, fails]]);
  assert.deepEqual([first, second[0]], [[true, six], false]);
  await assert.rejects(simulate("tryAggregate", [true, [works, fails]]), /Multicall3: call failed/);
  const three = ([target, callData], allowFailure) => [target, allowFailure, callData];
  const [third, fourth] = await simulate("aggregate3", [[three(works, false), three(fails, true)]]);
  assert.deepEqual([third, fourth[0]], [[true, six], false]);
  await assert.rejects(simulate("aggregate3", [[three(works, true), three(fails, false)]]), /Multicall3: call failed/);
});

test("what facilitators look for is there", async () => {
  assert.equal(await chain.reader.getChainId(), 84532);
  for (const [place, address] of Object.entries(ADDRESSES)) {
    assert.ok(await chain.reader.getCode({ address }), `no code for ${place}`);
  }
  await assert.rejects(chain.reader.call({ to: ADDRESSES.permit2, data: "0x01" }), /no such contract/);
});

test("what is held is mined on release, or when told to", async () => {
  const before = await chain.balance(stranger.address);
  const mint = { ...chain.token, functionName: "mint", args: [stranger.address, 1n] };
  await chain.hold();
  const [first, second] = [await chain.sender.writeContract(mint), await chain.sender.writeContract(mint)];
  assert.equal(await chain.balance(stranger.address), before);
  await chain.mine();
  assert.equal(await chain.balance(stranger.address), before + 2n);
  const third = await chain.sender.writeContract(mint);
  await chain.release();
  for (const hash of [first, second, third]) {
    assert.equal((await chain.reader.waitForTransactionReceipt({ hash })).status, "success");
  }
  await chain.mint(stranger.address, 1n);
  assert.equal(await chain.balance(stranger.address), before + 4n);
});

test("a chain with a block time mines by itself", async () => {
  const other = await startChain({ blockTime: 0.05, balances: { [stranger.address]: FUNDS } });
  try {
    assert.equal(await other.balance(stranger.address), FUNDS);
    const block = await other.reader.getBlockNumber();
    await other.mine(3);
    assert.ok((await other.reader.getBlockNumber()) >= block + 3n);
    await assert.rejects(other.hold(), /cannot be held/);
  } finally {
    await other.stop();
  }
});

for (const signal of ["SIGKILL", "SIGINT"]) {
  test(`a chain ends with the process that started it, by ${signal} to its group`, async () => {
    const script = `import { startChain } from ${JSON.stringify(new URL("../chain.mjs", import.meta.url))};
      console.log((await startChain()).url);`;
    const starter = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
      detached: true,
    });
    const [url] = await once(createInterface({ input: starter.stdout }), "line");
    const anvil = connect(new URL(url).port, "127.0.0.1");
    await once(anvil, "connect");
    // Its end resets a connection that it has not accepted yet.
    anvil.on("error", () => {});
    const closed = new Promise((done) => anvil.resume().once("close", done));
    process.kill(-starter.pid, signal);
    await closed;
  });
}

test("a chain that has stopped is gone", async () => {
  const other = await startChain();
  await other.stop();
  await assert.rejects(other.reader.getChainId());
});
