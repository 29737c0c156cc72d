// Money of the two kinds of chain, for checks that know neither: who has how much, and what has moved.

import assert from "node:assert/strict";

/** Of an EVM chain (chain/chain.mjs). */
export class Evm {
  networks = { 2: "eip155:84532", 1: "base-sepolia" };
  #last = Promise.resolve();

  constructor(chain) {
    this.chain = chain;
  }

  /** Its JSON-RPC. */
  get node() {
    return this.chain.url;
  }

  /** Somebody with `funds` atomic units: an address, and what a client's job needs to pay from it. */
  async newPayer(funds) {
    const { address, key } = await this.inTurn(() => this.chain.newPayer(funds));
    return { address, job: { key } };
  }

  async newSeller() {
    return (await this.chain.newPayer()).address;
  }

  /** Whatever sends from the minter's account, one at a time: two at once would take the same account nonce. */
  inTurn(send) {
    const sent = this.#last.then(send);
    this.#last = sent.catch(() => {});
    return sent;
  }

  /** Uses the authorization of a payment, as anybody can who has seen it. */
  async spend({ authorization, signature }) {
    const { from, to, value, validAfter, validBefore, nonce } = authorization;
    const args = [from, to, value, validAfter, validBefore, nonce, signature];
    await this.inTurn(() => this.chain.send({ ...this.chain.token, functionName: "transferWithAuthorization", args }));
  }

  balance(address) {
    return this.chain.balance(address);
  }

  /** What `payer` has paid, oldest first, each by an authorization that it has used. */
  async moved(payer) {
    const [transfers, used] = await Promise.all([this.chain.transfers(payer), this.chain.authorizationsUsed(payer)]);
    const hashes = (events) => events.map(({ transactionHash }) => transactionHash);
    assert.deepEqual(hashes(used), hashes(transfers), "one AuthorizationUsed for each Transfer");
    return transfers.map(({ args: { to, value }, transactionHash }) => ({
      to,
      amount: value,
      transaction: transactionHash,
    }));
  }
}

/** Of a Solana ledger (solana/solana.mjs). */
export class Solana {
  networks = { 2: "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", 1: "solana-devnet" };

  constructor(ledger) {
    this.ledger = ledger;
  }

  async newPayer(funds) {
    const { address, secretKey } = await this.ledger.newWallet({ funds });
    return { address, job: { solanaKey: secretKey, solanaRpc: this.ledger.rpc } };
  }

  async newSeller() {
    return (await this.ledger.newWallet()).address;
  }

  balance(address) {
    return this.ledger.balance(address);
  }

  async moved(payer) {
    const transactions = await this.ledger.transfers(payer);
    return transactions.flatMap(({ signature, moved }) =>
      moved
        .filter(({ owner, amount }) => owner !== payer && amount > 0n)
        .map(({ owner, amount }) => ({ to: owner, amount, transaction: signature })),
    );
  }
}
