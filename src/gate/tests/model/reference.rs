//! A payment's life as it is meant to be: the money rules without a gate, a ledger or a facilitator.

use super::{Mode, Point, Rules, Settle, Verify};
use crate::gate::tests::ask::Upstream;
use crate::ledger::{State, UnixMillis};

/// Seconds that must be left until a payment runs out.
const MARGIN: UnixMillis = 6_000;

/// One payment.
pub struct Reference {
    pub rules: Rules,
    /// When the payment runs out.
    pub valid_before: UnixMillis,
    pub money: Money,
    /// Whether the facilitator has moved the money, whoever knows of it.
    pub moved: bool,
    pub flight: Option<Flight>,
}

/// What is known of a payment's money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Money {
    /// Nothing has become of it: it may be sent again.
    Free,
    Reserved,
    Settling,
    Unknown,
    Settled {
        at: UnixMillis,
        delivered: bool,
    },
}

/// A request that has been forwarded and is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flight {
    /// It rides a window, and holds nothing.
    Window,
    /// It is settled by the upstream's success.
    Reserved,
    /// It is paid for.
    Settled,
    /// It will be answered with this, whatever the upstream says.
    Unpaid(u16),
}

/// The gateway was killed.
pub struct Dead;

/// What a client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub status: u16,
    pub served: bool,
}

/// Where the gateway is killed, if it comes there.
pub type Kill = Option<Point>;

fn pass(kill: Kill, point: Point) -> Result<(), Dead> {
    if kill == Some(point) { Err(Dead) } else { Ok(()) }
}

fn told(status: u16) -> Told {
    Told { status, served: false }
}

impl Reference {
    /// What the ledger has of it; a payment that failed is as free as one that was never seen.
    pub fn state(&self) -> Option<State> {
        match self.money {
            Money::Free => None,
            Money::Reserved => Some(State::Reserved),
            Money::Settling => Some(State::Settling),
            Money::Unknown => Some(State::Unknown),
            Money::Settled { .. } => Some(State::Settled),
        }
    }

    /// A request comes: answered at once, or forwarded.
    pub fn begin(
        &mut self,
        now: UnixMillis,
        verify: Verify,
        settle: Settle,
        kill: Kill,
    ) -> Result<Result<Flight, Told>, Dead> {
        if self.window_is_open(now) {
            return Ok(Ok(Flight::Window));
        }
        match (self.flight, self.money) {
            (Some(Flight::Settled), _) => {
                return Ok(Err(told(if self.rules.window && !self.is_owed(now) { 402 } else { 409 })));
            }
            (Some(Flight::Reserved | Flight::Unpaid(_)), _) => return Ok(Err(told(503))),
            (_, Money::Reserved | Money::Settling) => panic!("nobody holds it: {:?}", self.money),
            (_, Money::Free) if self.valid_before < now + MARGIN => return Ok(Err(told(402))),
            (_, Money::Free) => return self.take(now, verify, settle, kill),
            (_, Money::Unknown) => self.find_out(now, settle, kill)?,
            (_, Money::Settled { .. }) => {}
        }
        Ok(match self.money {
            Money::Unknown => Err(told(503)),
            _ if self.window_is_open(now) => Ok(Flight::Window),
            _ if self.is_owed(now) => Ok(Flight::Settled),
            _ => Err(told(402)),
        })
    }

    /// The facilitator is asked to settle again what may have been settled: a nonce that is used says that it was.
    fn find_out(&mut self, now: UnixMillis, settle: Settle, kill: Kill) -> Result<(), Dead> {
        pass(kill, Point::Settle)?;
        match settle {
            Settle::Settled => {
                self.moved = true;
                pass(kill, Point::Settled)?;
                self.money = Money::Settled { at: now, delivered: false };
            }
            Settle::Lost => self.moved = true,
            Settle::Silent | Settle::Refused | Settle::Unreached => {}
        }
        Ok(())
    }

    fn take(
        &mut self,
        now: UnixMillis,
        verify: Verify,
        settle: Settle,
        kill: Kill,
    ) -> Result<Result<Flight, Told>, Dead> {
        if self.rules.mode == Mode::OnSuccess {
            self.money = Money::Reserved;
            pass(kill, Point::Verify)?;
            return match verify {
                Verify::Valid => Ok(Ok(Flight::Reserved)),
                Verify::Invalid => self.release(kill).map(|()| Err(told(402))),
                Verify::Fault => self.release(kill).map(|()| Err(told(503))),
            };
        }
        self.money = Money::Settling;
        Ok(match (self.settle(now, settle, kill)?, self.rules.mode) {
            (None, _) => Ok(Flight::Settled),
            (Some(status), Mode::Overlap) => Ok(Flight::Unpaid(status)),
            (Some(status), Mode::Before | Mode::OnSuccess) => Err(told(status)),
        })
    }

    /// A forwarded request comes to its end.
    pub fn finish(
        &mut self,
        flight: Flight,
        now: UnixMillis,
        upstream: Upstream,
        settle: Settle,
        kill: Kill,
    ) -> Result<Told, Dead> {
        let status = match upstream {
            Upstream::Answers(status) | Upstream::BreaksOff(status) => status,
            Upstream::Fails => 502,
        };
        let is_good = status < 400;
        match flight {
            Flight::Window => {}
            Flight::Unpaid(status) => return Ok(told(status)),
            Flight::Reserved if !is_good => return self.release(kill).map(|()| told(status)),
            Flight::Reserved => {
                pass(kill, Point::Settling)?;
                self.money = Money::Settling;
                if let Some(status) = self.settle(now, settle, kill)? {
                    return Ok(told(status));
                }
            }
            Flight::Settled => {}
        }
        if !is_good || upstream != Upstream::Answers(status) {
            return Ok(told(status));
        }
        if let Money::Settled { delivered: delivered @ false, .. } = &mut self.money {
            pass(kill, Point::Delivered)?;
            *delivered = true;
        }
        Ok(Told { status, served: true })
    }

    /// `None`: settled; else what the client is told instead.
    fn settle(&mut self, now: UnixMillis, settle: Settle, kill: Kill) -> Result<Option<u16>, Dead> {
        pass(kill, Point::Settle)?;
        match settle {
            Settle::Settled | Settle::Lost => {
                assert!(!self.moved, "asked to move the money again");
                self.moved = true;
            }
            Settle::Silent | Settle::Refused | Settle::Unreached => {}
        }
        match settle {
            Settle::Settled => {
                pass(kill, Point::Settled)?;
                self.money = Money::Settled { at: now, delivered: false };
                Ok(None)
            }
            Settle::Lost | Settle::Silent => {
                pass(kill, Point::Unknown)?;
                self.money = Money::Unknown;
                Ok(Some(503))
            }
            Settle::Refused => self.release(kill).map(|()| Some(402)),
            Settle::Unreached => self.release(kill).map(|()| Some(503)),
        }
    }

    fn release(&mut self, kill: Kill) -> Result<(), Dead> {
        pass(kill, Point::Failed)?;
        self.money = Money::Free;
        Ok(())
    }

    /// The gateway starts again.
    pub fn restart(&mut self) {
        self.flight = None;
        self.money = match self.money {
            Money::Reserved => Money::Free,
            Money::Settling => Money::Unknown,
            money @ (Money::Free | Money::Unknown | Money::Settled { .. }) => money,
        };
    }

    fn window_is_open(&self, now: UnixMillis) -> bool {
        matches!(self.money, Money::Settled { at, .. } if self.rules.window && now < at + super::WINDOW)
    }

    fn is_owed(&self, now: UnixMillis) -> bool {
        matches!(self.money, Money::Settled { at, delivered: false } if now < at + super::REDELIVER)
    }
}
