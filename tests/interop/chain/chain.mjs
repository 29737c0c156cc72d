// A chain on loopback that has Base Sepolia's id, a token with EIP-3009 where its USDC is, and the contracts that x402's
// facilitators expect on every chain.

import { createRequire } from "node:module";
import { createPublicClient, createTestClient, createWalletClient, defineChain, http } from "viem";
import { generatePrivateKey, mnemonicToAccount, privateKeyToAddress } from "viem/accounts";
import { compile } from "./compile.mjs";
import { startGuarded } from "./guarded.mjs";

export const CHAIN_ID = 84532;

/** Where the contracts stand. All but the wallet factory have these addresses on Base Sepolia. */
export const ADDRESSES = {
  token: "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
  multicall: "0xcA11bde05977b3631167028862bE2a173976CA11",
  signatureValidator: "0xdAcD51A54883eb67D95FAEb2BBfdC4a9a6BD2a3B",
  permit2: "0x000000000022D473030F116dDEE9F6B43aC78BA3",
  exactPermit2Proxy: "0x402085c248EeA27D92E8b30b2C58ed07f9E20001",
  uptoPermit2Proxy: "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002",
  walletFactory: "0x00000000000000000000000000000000000fac70",
};

const CONTRACTS = {
  token: "Token",
  multicall: "Multicall",
  signatureValidator: "SignatureValidator",
  permit2: "Absent",
  exactPermit2Proxy: "Absent",
  uptoPermit2Proxy: "Absent",
  walletFactory: "WalletFactory",
};

/** anvil's own, known to everybody: its accounts own ether on this chain and nothing anywhere else. */
const MNEMONIC = "test test test test test test test test test test test junk";
/** The account that mints. Facilitators have the ones below it, so that nobody's transactions wait for another's. */
const MINTER_INDEX = 9;
const POLLING_MS = 25;
const LISTENING = /^Listening on (127\.0\.0\.1:\d+)$/;

/** The private key of a facilitator that has ether for gas; `index` from 0 to 8. */
export function facilitatorKey(index) {
  if (!(index >= 0 && index < MINTER_INDEX)) throw new RangeError(`no facilitator ${index}`);
  return `0x${Buffer.from(mnemonicToAccount(MNEMONIC, { addressIndex: index }).getHdKey().privateKey).toString("hex")}`;
}

/**
 * Starts a chain.
 *
 * A block is mined for each transaction, or every `blockTime` seconds (such as 0.2), if given; with `heartbeat` for each
 * transaction and every so many seconds. `balances` are atomic units by address. Everything that anvil writes goes to the
 * file `log`, if one is named.
 */
export async function startChain({ blockTime, heartbeat, balances = {}, log } = {}) {
  const contracts = await compile();
  const seconds = blockTime ?? heartbeat;
  const interval = seconds ? ["--block-time", String(seconds)] : [];
  if (heartbeat) interval.push("--mixed-mining");
  const listen = ["--chain-id", String(CHAIN_ID), "--host", "127.0.0.1", "--port", "0", "--mnemonic", MNEMONIC];
  // No --silent: that would hide which port the system has given it.
  const { answer, stop } = await startGuarded([anvil(), ...listen, ...interval], {
    ready: (line) => line.match(LISTENING)?.[1],
    log,
  });
  const chain = new Chain(`http://${answer}`, contracts, seconds, stop);
  try {
    const planted = Object.entries(CONTRACTS).map(([place, name]) =>
      chain.control.setCode({ address: ADDRESSES[place], bytecode: contracts[name].code }),
    );
    await Promise.all(planted);
    for (const [address, value] of Object.entries(balances)) await chain.mint(address, value);
    return chain;
  } catch (error) {
    await stop();
    throw error;
  }
}

function anvil() {
  const packageName = `@foundry-rs/anvil-${process.platform}-${process.arch === "x64" ? "amd64" : process.arch}`;
  try {
    return createRequire(import.meta.url).resolve(`${packageName}/bin/anvil`);
  } catch (error) {
    throw new Error(`the lab's chain cannot be had on this machine: there is no ${packageName}`, { cause: error });
  }
}

class Chain {
  constructor(url, contracts, seconds, stop) {
    const transport = {
      transport: http(url, { retryCount: 0 }),
      chain: describe(url),
      pollingInterval: POLLING_MS,
      cacheTime: 0,
    };
    /** Its JSON-RPC. */
    this.url = url;
    /** The token, for viem's contract actions. */
    this.token = { address: ADDRESSES.token, abi: contracts.Token.abi };
    /** The factory of smart accounts, for viem's contract actions. */
    this.walletFactory = { address: ADDRESSES.walletFactory, abi: contracts.WalletFactory.abi };
    /** viem's clients: to read, to send from the minter's account, to make the chain do as it is told. */
    this.reader = createPublicClient(transport);
    this.sender = createWalletClient({
      ...transport,
      account: mnemonicToAccount(MNEMONIC, { addressIndex: MINTER_INDEX }),
    });
    this.control = createTestClient({ ...transport, mode: "anvil" });
    /** Between the blocks that the clock mines, if it does. */
    this.seconds = seconds;
    /** Ends anvil and waits until it is gone. */
    this.stop = stop;
  }

  /** What `address` owns, in atomic units. */
  balance(address) {
    return this.reader.readContract({ ...this.token, functionName: "balanceOf", args: [address] });
  }

  async mint(to, value) {
    await this.send({ ...this.token, functionName: "mint", args: [to, BigInt(value)] });
  }

  /** A new account, `{address, key}`, that owns `funds` atomic units of the token. */
  async newPayer(funds = 0n) {
    const key = generatePrivateKey();
    const address = privateKeyToAddress(key);
    if (funds > 0n) await this.mint(address, funds);
    return { address, key };
  }

  /** Sends a transaction, and waits for its receipt. Throws the contract's revert text. */
  async send(call) {
    const hash = await this.sender.writeContract(call);
    const receipt = await this.reader.waitForTransactionReceipt({ hash });
    if (receipt.status !== "success") throw new Error(`${call.functionName} was reverted: ${hash}`);
    return receipt;
  }

  /** The `AuthorizationUsed` events of a payer, for one nonce or for all, oldest first. */
  authorizationsUsed(payer, nonce) {
    return this.reader.getContractEvents({
      ...this.token,
      eventName: "AuthorizationUsed",
      args: { authorizer: payer, nonce },
      fromBlock: 0n,
      strict: true,
    });
  }

  /** The token's `Transfer` events of a payer, oldest first: what has moved, and where to. */
  transfers(payer) {
    return this.reader.getContractEvents({
      ...this.token,
      eventName: "Transfer",
      args: { from: payer },
      fromBlock: 0n,
      strict: true,
    });
  }

  /** Mines blocks at once, also while it is held. */
  async mine(blocks = 1) {
    await this.control.mine({ blocks });
  }

  /** Leaves transactions where they are, unmined, until `release`. Only where each transaction has its block. */
  async hold() {
    // anvil would take a block time back in whole seconds only.
    if (this.seconds) throw new Error("a chain that mines by the clock cannot be held");
    await this.control.setAutomine(false);
  }

  /** Mines what was held, and goes on as before. */
  async release() {
    await this.mine();
    await this.control.setAutomine(true);
  }
}

function describe(url) {
  return defineChain({
    id: CHAIN_ID,
    name: "Lab",
    nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
    rpcUrls: { default: { http: [url] } },
  });
}
