// A Solana ledger in this process: LiteSVM with devnet's USDC, and a memory of what each transaction moved.

import { generateKeyPairSync } from "node:crypto";
import {
  AccountState,
  TOKEN_PROGRAM_ADDRESS,
  findAssociatedTokenPda,
  getMintEncoder,
  getTokenDecoder,
  getTokenEncoder,
} from "@solana-program/token";
import {
  getBase58Decoder,
  getBase64Decoder,
  getBase64Encoder,
  getCompiledTransactionMessageDecoder,
  getTransactionDecoder,
  isFullySignedTransaction,
} from "@solana/kit";
import { FailedTransactionMetadata, LiteSVM } from "litesvm";

/** devnet's USDC. */
export const MINT = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU";
export const DECIMALS = 6;
const SUPPLY = 10n ** 15n;

/** A transaction with one of these is in no block: nothing has happened, and nobody hears of it again. */
const IN_NO_BLOCK = new Set(["AccountNotFound", "BlockhashNotFound", "InsufficientFundsForFee"]);
/** Rust's way to write it, which is the only one that LiteSVM has for all of them. */
const ERROR = /\{ err: (?:InstructionError\((\d+), (?:Custom\((\d+)\)|(\w+))|(\w+))/;

const asBase58 = (bytes) => getBase58Decoder().decode(bytes);

/** A transaction that somebody must sign who has not. */
export class BadSignature extends Error {}

export class Ledger {
  #svm = new LiteSVM();
  /** What is in a block, by message, oldest first: a network takes a message once. */
  #landed = new Map();

  constructor() {
    const { address } = newKeys();
    const mint = { mintAuthority: address, supply: SUPPLY, decimals: DECIMALS, isInitialized: true };
    this.#plant(MINT, getMintEncoder().encode({ ...mint, freezeAuthority: address }));
  }

  get slot() {
    return Number(this.#svm.getClock().slot);
  }

  get blockhash() {
    return this.#svm.latestBlockhash();
  }

  /** What was signed with the blockhash that was good until now is not taken any more. */
  expireBlockhash() {
    this.#svm.expireBlockhash();
  }

  /** The keys of a new wallet that owns `lamports` and, in its account of the token, `funds`. */
  async newWallet(funds, lamports) {
    const keys = newKeys();
    if (lamports > 0n) this.#svm.airdrop(keys.address, lamports);
    const none = { delegate: null, delegatedAmount: 0n, isNative: null, closeAuthority: null };
    const token = { mint: MINT, owner: keys.address, amount: funds, state: AccountState.Initialized, ...none };
    this.#plant(await tokenAccountOf(keys.address), getTokenEncoder().encode(token));
    return keys;
  }

  account(address) {
    return this.#svm.getAccount(address);
  }

  lamports(address) {
    return this.#svm.getBalance(address) ?? 0n;
  }

  /** Whose an account of a token is, and what it holds; `undefined` where it is none. */
  tokens(address) {
    const account = this.account(address);
    if (!account.exists || account.programAddress !== TOKEN_PROGRAM_ADDRESS) return undefined;
    return account.data.length === getTokenDecoder().fixedSize ? getTokenDecoder().decode(account.data) : undefined;
  }

  async balanceOf(owner) {
    return this.tokens(await tokenAccountOf(owner))?.amount ?? 0n;
  }

  /** Tries a transaction in base64, and changes nothing. */
  simulate(base64, { sigVerify = false, replaceRecentBlockhash = false } = {}) {
    const transaction = decode(base64);
    if (this.#landed.has(keyOf(transaction))) return { err: "AlreadyProcessed", logs: [], unitsConsumed: 0 };
    this.#svm.withSigverify(sigVerify).withBlockhashCheck(!replaceRecentBlockhash);
    try {
      return outcomeOf(this.#svm.simulateTransaction(transaction));
    } finally {
      this.#svm.withSigverify(true).withBlockhashCheck(true);
    }
  }

  /** Takes a transaction in base64, if it has not taken it already, and gives its signature. */
  send(base64) {
    const transaction = decode(base64);
    if (!isFullySignedTransaction(transaction)) throw new BadSignature();
    const signature = asBase58(Object.values(transaction.signatures)[0]);
    if (this.#landed.has(keyOf(transaction))) return signature;
    const accounts = getCompiledTransactionMessageDecoder().decode(transaction.messageBytes).staticAccounts;
    const before = accounts.map((address) => this.tokens(address));
    const { err } = outcomeOf(this.#svm.sendTransaction(transaction));
    if (err === "SignatureFailure") throw new BadSignature();
    if (IN_NO_BLOCK.has(err)) return signature;
    const moved = accounts.flatMap((address, index) => change(before[index], this.tokens(address)));
    this.#landed.set(keyOf(transaction), { signature, slot: this.slot, err, moved });
    return signature;
  }

  /** What became of a transaction; `undefined` where it is in no block. */
  landed(signature) {
    return [...this.#landed.values()].find((transaction) => transaction.signature === signature);
  }

  /** The transactions that changed what `owner` has of the token, oldest first, with all that each has moved. */
  transfersOf(owner) {
    return [...this.#landed.values()].filter(({ moved }) => moved.some((change) => change.owner === owner));
  }

  #plant(address, data) {
    const space = BigInt(data.length);
    const lamports = this.#svm.minimumBalanceForRentExemption(space);
    this.#svm.setAccount({ address, data, lamports, space, executable: false, programAddress: TOKEN_PROGRAM_ADDRESS });
  }
}

function decode(base64) {
  return getTransactionDecoder().decode(getBase64Encoder().encode(base64));
}

function keyOf({ messageBytes }) {
  return getBase64Decoder().decode(messageBytes);
}

function outcomeOf(answer) {
  const meta = typeof answer.meta === "function" ? answer.meta() : answer;
  const err = answer instanceof FailedTransactionMetadata ? errorOf(answer) : null;
  return { err, logs: meta.logs(), unitsConsumed: Number(meta.computeUnitsConsumed()) };
}

/** An error as Solana's JSON-RPC writes it. */
function errorOf(failed) {
  const [, index, custom, instructionError, error] = String(failed).match(ERROR);
  if (error) return error;
  return { InstructionError: [Number(index), instructionError ?? { Custom: Number(custom) }] };
}

function change(before, after) {
  const amount = (after?.amount ?? 0n) - (before?.amount ?? 0n);
  return amount === 0n ? [] : [{ owner: (after ?? before).owner, amount: String(amount) }];
}

async function tokenAccountOf(owner) {
  const [address] = await findAssociatedTokenPda({ owner, mint: MINT, tokenProgram: TOKEN_PROGRAM_ADDRESS });
  return address;
}

/** As wallets keep them: the secret key is the seed and the address. */
function newKeys() {
  const { d, x } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const [seed, address] = [d, x].map((text) => Buffer.from(text, "base64url"));
  return { address: asBase58(address), secretKey: asBase58(Buffer.concat([seed, address])) };
}
