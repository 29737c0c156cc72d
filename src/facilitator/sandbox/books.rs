//! The sandbox's tokens: who holds how much, and which nonces are spent. Pure: the time comes in from outside.

use std::collections::{HashMap, VecDeque};

use alloy::primitives::{Address, B256};
use sha2::{Digest, Sha256};

use super::Refusal;
use crate::money::Amount;
use crate::x402::{Asset, Network, Reason};

/// Accounts that are kept; the one seen first is forgotten for a new one, and starts anew if it comes back.
pub(super) const ACCOUNTS_MAX: usize = 10_000;
/// Spent nonces that are kept until their authorizations run out; past that nothing is transferred.
pub(super) const NONCES_MAX: usize = 100_000;

/// One token on one network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Token {
    network: String,
    /// In lower case.
    address: String,
}

impl Token {
    pub(super) fn of(network: &Network, asset: &Asset) -> Token {
        Token { network: network.caip2().to_owned(), address: asset.address.to_ascii_lowercase() }
    }
}

/// A transfer that somebody signed.
#[derive(Debug, Clone)]
pub(super) struct Transfer {
    pub token: Token,
    pub from: Address,
    pub to: Address,
    pub value: Amount,
    pub nonce: B256,
    /// Unix seconds; the nonce need not be remembered past it.
    pub valid_before: u64,
    /// What the payer starts with, if it has not paid before.
    pub start: Amount,
}

#[derive(Debug, Default, Clone, Copy)]
struct Account {
    balance: Amount,
    /// Whether the start balance is in it: who was only paid so far still gets one.
    started: bool,
}

#[derive(Default)]
pub(super) struct Books {
    accounts: HashMap<(Token, Address), Account>,
    /// The keys of `accounts`, the one seen first in front.
    seen: VecDeque<(Token, Address)>,
    /// With the Unix second at which each runs out.
    nonces: HashMap<(Token, Address, B256), u64>,
    transfers: u64,
}

impl Books {
    pub(super) fn balance(&self, token: &Token, owner: Address) -> Option<Amount> {
        self.accounts.get(&(token.clone(), owner)).map(|account| account.balance)
    }

    pub(super) fn transfers(&self) -> u64 {
        self.transfers
    }

    /// Whether the transfer could be made; changes nothing. `now` is in Unix seconds.
    pub(super) fn check(&self, transfer: &Transfer, now: u64) -> Result<(), Refusal> {
        self.after(transfer, now).map(|_| ())
    }

    /// Makes the transfer and answers its hash, or changes nothing.
    pub(super) fn make(&mut self, transfer: &Transfer, now: u64) -> Result<String, Refusal> {
        if self.nonces.len() >= NONCES_MAX {
            self.nonces.retain(|_, valid_before| *valid_before > now);
        }
        let (payer, payee) = self.after(transfer, now)?;
        if self.nonces.len() >= NONCES_MAX {
            return Err((Reason::UnexpectedSettleError, "too many payments that have not run out"));
        }
        self.nonces.insert(nonce_key(transfer), transfer.valid_before);
        self.write((transfer.token.clone(), transfer.from), payer);
        if let Some(payee) = payee {
            self.write((transfer.token.clone(), transfer.to), payee);
        }
        self.transfers = self.transfers.saturating_add(1);
        Ok(transaction_hash(transfer))
    }

    /// Payer and payee as the transfer would leave them; `None` for a payee who pays himself.
    fn after(&self, transfer: &Transfer, now: u64) -> Result<(Account, Option<Account>), Refusal> {
        if self.nonces.get(&nonce_key(transfer)).is_some_and(|valid_before| *valid_before > now) {
            return Err((Reason::NonceAlreadyUsed, "the nonce was used"));
        }
        let account = |owner| self.accounts.get(&(transfer.token.clone(), owner)).copied().unwrap_or_default();
        let overflow = (Reason::UnexpectedSettleError, "more than 256 bits of money");
        let payer = account(transfer.from);
        let funded = match payer.started {
            true => payer.balance,
            false => payer.balance.checked_add(transfer.start).ok_or(overflow)?,
        };
        let left = funded.checked_sub(transfer.value).ok_or((Reason::InsufficientFunds, "the balance is too small"))?;
        if transfer.from == transfer.to {
            return Ok((Account { balance: funded, started: true }, None));
        }
        let payee = account(transfer.to);
        let received = payee.balance.checked_add(transfer.value).ok_or(overflow)?;
        Ok((Account { balance: left, started: true }, Some(Account { balance: received, ..payee })))
    }

    fn write(&mut self, key: (Token, Address), account: Account) {
        if self.accounts.insert(key.clone(), account).is_none() {
            self.seen.push_back(key);
            if self.seen.len() > ACCOUNTS_MAX
                && let Some(oldest) = self.seen.pop_front()
            {
                self.accounts.remove(&oldest);
            }
        }
    }
}

fn nonce_key(transfer: &Transfer) -> (Token, Address, B256) {
    (transfer.token.clone(), transfer.from, transfer.nonce)
}

/// 32 bytes as on a chain, of which the first seven are "sandbox"; unique as the payer's nonce is.
fn transaction_hash(transfer: &Transfer) -> String {
    let mut hash = Sha256::new();
    for part in [transfer.token.network.as_bytes(), &[0], transfer.token.address.as_bytes(), &[0]] {
        hash.update(part);
    }
    hash.update(transfer.from);
    hash.update(transfer.nonce);
    let mark = alloy::hex::encode("sandbox");
    let unique: String =
        alloy::hex::encode(hash.finalize()).chars().take(64_usize.saturating_sub(mark.len())).collect();
    format!("0x{mark}{unique}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> Token {
        let network = Network::parse("base-sepolia").unwrap();
        let asset = Asset::known(&network, "USDC").unwrap();
        Token::of(&network, &asset)
    }

    fn transfer(from: u8, to: u8, value: u64, nonce: u64) -> Transfer {
        Transfer {
            token: token(),
            from: Address::repeat_byte(from),
            to: Address::repeat_byte(to),
            value: Amount::from(value),
            nonce: B256::left_padding_from(&nonce.to_be_bytes()),
            valid_before: 1_000,
            start: Amount::from(100),
        }
    }

    #[test]
    fn a_nonce_is_spent_once_and_forgotten_when_it_has_run_out() {
        let mut books = Books::default();
        let once = transfer(1, 2, 10, 7);
        let hash = books.make(&once, 500).unwrap();
        assert_eq!(hash.len(), 66);
        assert!(hash.starts_with("0x73616e64626f78"), "{hash} says that it is not real");
        assert_eq!(books.check(&once, 500).unwrap_err().0, Reason::NonceAlreadyUsed);
        assert_eq!(books.make(&once, 999).unwrap_err().0, Reason::NonceAlreadyUsed);
        assert_ne!(books.make(&transfer(1, 2, 10, 8), 500).unwrap(), hash);
        assert_ne!(books.make(&transfer(3, 2, 10, 7), 500).unwrap(), hash, "nonces are each payer's own");
        assert_eq!(books.balance(&token(), Address::repeat_byte(1)), Some(Amount::from(80)));
        assert_eq!(books.transfers(), 3);
    }

    #[test]
    fn who_was_paid_first_still_starts_with_the_balance() {
        let mut books = Books::default();
        books.make(&transfer(1, 2, 10, 1), 0).unwrap();
        assert_eq!(books.balance(&token(), Address::repeat_byte(2)), Some(Amount::from(10)));
        books.make(&transfer(2, 1, 110, 1), 0).unwrap();
        assert_eq!(books.balance(&token(), Address::repeat_byte(2)), Some(Amount::ZERO));
        assert_eq!(books.make(&transfer(2, 1, 1, 2), 0).unwrap_err().0, Reason::InsufficientFunds);
    }

    #[test]
    fn the_books_are_bounded() {
        let mut books = Books::default();
        let payer = |n: u64| Transfer { from: Address::left_padding_from(&n.to_be_bytes()), ..transfer(0, 0xff, 1, 1) };
        let accounts = u64::try_from(ACCOUNTS_MAX).unwrap();
        for n in 1..accounts {
            books.make(&payer(n), 0).unwrap();
        }
        assert_eq!(books.accounts.len(), ACCOUNTS_MAX, "with the payee just full: nobody is forgotten");
        assert!(books.balance(&token(), payer(1).from).is_some());
        books.make(&payer(accounts), 0).unwrap();
        assert_eq!(books.accounts.len(), ACCOUNTS_MAX);
        assert_eq!(books.balance(&token(), payer(1).from), None, "the one seen first is forgotten");
    }

    #[test]
    fn spent_nonces_make_room_only_when_they_have_run_out() {
        let mut books = Books::default();
        for n in 0..u64::try_from(NONCES_MAX).unwrap() {
            books.nonces.insert(nonce_key(&transfer(1, 2, 0, n)), 1_000);
        }
        let next = transfer(1, 2, 10, u64::MAX);
        assert_eq!(books.make(&next, 999).unwrap_err().0, Reason::UnexpectedSettleError);
        assert_eq!(books.transfers(), 0);
        let next = Transfer { valid_before: 2_000, ..next };
        books.make(&next, 1_000).unwrap();
        assert_eq!(books.nonces.len(), 1);
    }

    proptest! {
        #[test]
        fn no_money_appears_or_disappears(moves in proptest::collection::vec((1u8..5, 1u8..5, 0u64..150, 0u64..6), 0..60)) {
            let mut books = Books::default();
            for (from, to, value, nonce) in moves {
                let transfer = transfer(from, to, value, nonce);
                let could = books.check(&transfer, 0);
                prop_assert_eq!(books.make(&transfer, 0).map(|_| ()), could, "a check tells what would happen");
                let held = books.accounts.values().try_fold(Amount::ZERO, |sum, account| sum.checked_add(account.balance));
                let started = books.accounts.values().filter(|account| account.started).count();
                prop_assert_eq!(held, Some(Amount::from(100 * u64::try_from(started).unwrap())));
            }
        }
    }
}
