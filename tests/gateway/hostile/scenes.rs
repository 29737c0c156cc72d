//! What goes wrong, and what the client is told of it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::facilitator::{Act, Call, Moves, Script};
use super::sayings::{self, NAMING, NONSENSE, OPEN_ENDED, REFUSALS, TURNED_AWAY, truth};
use crate::support::Answer;
use crate::support::setup::PAY_TO;

/// How long the gateway waits for the facilitator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As long as anybody.
    Patient,
    /// Too short for a `/verify` that does not come.
    HastyVerify,
    /// Too short for a `/settle` that does not come.
    HastySettle,
}

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It gets what it paid for.
    Served,
    /// 503: nobody knows whether it paid.
    Pending,
    /// 503: nothing was charged, and nobody can be asked.
    Unavailable,
    /// 402 with this code.
    Refused(&'static str),
}

/// One thing that goes wrong.
#[derive(Debug, Clone)]
pub struct Scene {
    pub what: String,
    pub pace: Pace,
    pub script: Script,
    /// Told at first, and when the same payment comes again.
    told: (Told, Told),
}

impl Pace {
    pub const ALL: [Pace; 3] = [Pace::Patient, Pace::HastyVerify, Pace::HastySettle];

    pub fn name(self) -> &'static str {
        match self {
            Pace::Patient => "patient",
            Pace::HastyVerify => "hasty-verify",
            Pace::HastySettle => "hasty-settle",
        }
    }

    /// The same facilitator by another name, and the way to pay through it.
    pub fn sections(self, address: SocketAddr) -> String {
        let name = self.name();
        let timeout = match self {
            Pace::Patient => "",
            Pace::HastyVerify => "verify_timeout = \"1s\"",
            Pace::HastySettle => "settle_timeout = \"1s\"",
        };
        format!(
            "[facilitators.{name}]\nurl = \"http://{address}\"\n{timeout}\n\
             [pay.{name}]\nnetwork = \"base-sepolia\"\nasset = \"USDC\"\npay_to = \"{PAY_TO}\"\nfacilitators = [\"{name}\"]\n"
        )
    }
}

impl Scene {
    /// Told at first and then, on a route that has payments verified by the facilitator or not, by a gateway that can
    /// ask the chain or not.
    pub fn told(&self, verifies: bool, sees_the_chain: bool) -> (Told, Told) {
        let goes_wrong = verifies || !self.script.settle.is_empty();
        match self.told {
            _ if !goes_wrong => (Told::Served, Told::Refused(super::SPENT)),
            OPEN if sees_the_chain && self.script.moves() => FOUND_OUT,
            told => told,
        }
    }

    fn at_verify(what: impl Into<String>, acts: impl Into<VecDeque<Act>>, told: (Told, Told)) -> Scene {
        let script = Script { verify: acts.into(), ..Script::default() };
        Scene { what: format!("/verify: {}", what.into()), pace: Pace::Patient, script, told }
    }

    fn at_settle(what: impl Into<String>, acts: impl Into<VecDeque<Act>>, told: (Told, Told)) -> Scene {
        let script = Script { settle: acts.into(), ..Script::default() };
        Scene { what: format!("/settle: {}", what.into()), pace: Pace::Patient, script, told }
    }

    fn at(self, pace: Pace) -> Scene {
        Scene { pace, ..self }
    }
}

/// Everything that goes wrong.
pub fn scenes() -> Vec<Scene> {
    let mut scenes = vec![
        Scene::at_settle("nothing is wrong", [], (Told::Served, Told::Refused(super::SPENT))),
        Scene::at_settle("settles, then is slow beyond the timeout", late().once(), FOUND_OUT).at(Pace::HastySettle),
        Scene::at_settle(
            "settlement_pending, then success",
            [act(Moves::Yes, sayings::pending), act(Moves::No, sayings::settled_by_now)],
            FOUND_OUT,
        ),
        Scene::at_settle("settlement_pending for ever", act(Moves::Yes, sayings::pending).always(), OPEN),
        Scene::at_settle("settlement_pending, and nothing moves", act(Moves::No, sayings::pending).always(), OPEN),
        Scene::at_settle(
            "a second transaction for one payment",
            [act(Moves::Yes, sayings::pending), act(Moves::No, sayings::a_second_transaction)],
            FOUND_OUT,
        ),
        Scene::at_verify("silence", act(Moves::No, sayings::silence).once(), (Told::Unavailable, Told::Served))
            .at(Pace::HastyVerify),
        Scene::at_verify("silence for ever", act(Moves::No, sayings::silence).always(), UNAVAILABLE)
            .at(Pace::HastyVerify),
        Scene::at_verify("slow beyond the timeout", late().once(), (Told::Unavailable, Told::Served))
            .at(Pace::HastyVerify),
        Scene::at_verify("valid for another payer", act(Moves::No, sayings::valid_for_another).always(), UNAVAILABLE),
    ];
    for moves in [Moves::No, Moves::Yes] {
        let silence = act(moves, sayings::silence);
        let what = |said: &str| format!("{said}, money: {moves:?}");
        scenes.push(Scene::at_settle(what("silence"), silence.once(), FOUND_OUT).at(Pace::HastySettle));
        for (said, says) in NONSENSE.iter().chain(OPEN_ENDED) {
            scenes.push(Scene::at_settle(what(said), act(moves, *says).once(), FOUND_OUT));
        }
        // A nonce that is used does not say what became of a transaction.
        let told = if moves == Moves::Yes { OPEN } else { FOUND_OUT };
        scenes.extend(NAMING.iter().map(|(said, says)| Scene::at_settle(what(said), act(moves, *says).once(), told)));
    }
    for (said, says) in NONSENSE.iter().chain(TURNED_AWAY) {
        let says = act(Moves::No, *says);
        scenes.push(Scene::at_verify(*said, says.once(), (Told::Unavailable, Told::Served)));
        scenes.push(Scene::at_verify(format!("{said} for ever"), says.always(), UNAVAILABLE));
    }
    for (said, says) in TURNED_AWAY {
        let says = act(Moves::No, *says);
        scenes.push(Scene::at_settle(*said, says.once(), (Told::Unavailable, Told::Served)));
        scenes.push(Scene::at_settle(format!("{said} for ever"), says.always(), UNAVAILABLE));
    }
    for (code, (said, says)) in REFUSALS {
        let says = act(Moves::No, *says);
        let refused = Told::Refused(code);
        for scene in [Scene::at_verify, Scene::at_settle] {
            scenes.push(scene((*said).to_owned(), says.once(), (refused, Told::Served)));
            scenes.push(scene(format!("{said} for ever"), says.always(), (refused, refused)));
        }
    }
    scenes
}

/// The outcome is unknown at first, and known when the same payment comes again.
const FOUND_OUT: (Told, Told) = (Told::Pending, Told::Served);
/// The outcome stays unknown.
const OPEN: (Told, Told) = (Told::Pending, Told::Pending);
const UNAVAILABLE: (Told, Told) = (Told::Unavailable, Told::Unavailable);

fn act(moves: Moves, says: fn(&Call) -> Answer) -> Act {
    Act { moves, says }
}

/// Says the truth when nobody waits for it any more.
fn late() -> Act {
    act(Moves::Late, truth)
}
