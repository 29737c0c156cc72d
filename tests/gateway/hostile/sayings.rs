//! What a facilitator says, truth and otherwise.

use serde_json::{Value, json};

use super::facilitator::{Call, Operation};
use crate::support::Answer;
use crate::support::facilitator::LEAK;

type Saying = (&'static str, fn(&Call) -> Answer);

/// As the official facilitator answers.
pub fn truth(call: &Call) -> Answer {
    const USED: &str = "invalid_exact_evm_nonce_already_used";
    let decision = match (call.operation, call.used) {
        (Operation::Verify, false) => json!({"isValid": true, "payer": call.payer}),
        (Operation::Verify, true) => json!({"isValid": false, "invalidReason": USED, "payer": call.payer}),
        (Operation::Settle, false) => call.settlement(true, "", &call.transaction),
        (Operation::Settle, true) => call.settlement(false, USED, ""),
    };
    Answer::json(200, &decision)
}

/// Nothing at all; the connection stays open.
pub fn silence(_: &Call) -> Answer {
    Answer::Never
}

pub fn pending(call: &Call) -> Answer {
    Answer::json(200, &call.settlement(false, "settlement_pending", &call.transaction))
}

pub fn pending_without_a_transaction(call: &Call) -> Answer {
    Answer::json(200, &call.settlement(false, "settlement_pending", ""))
}

/// What a facilitator says that understands that it is asked again.
pub fn settled_by_now(call: &Call) -> Answer {
    Answer::json(200, &call.settlement(true, "", &call.transaction))
}

pub fn valid_for_another(call: &Call) -> Answer {
    Answer::json(200, &of_another(call))
}

fn of_another(call: &Call) -> Value {
    let mut decision = call.settlement(true, "", &call.transaction);
    decision["isValid"] = true.into();
    decision["payer"] = "0x0707070707070707070707070707070707070707".into();
    decision
}

/// A success by a transaction that no other call was told of.
pub fn a_second_transaction(call: &Call) -> Answer {
    Answer::json(200, &call.settlement(true, "", &format!("0x{}", "5e".repeat(32))))
}

/// Answers to either call that decide nothing.
pub const NONSENSE: &[Saying] = &[
    ("a cut connection", |_| Answer::Cut),
    ("half an answer", |_| Answer::Half),
    ("500", |_| Answer::text(500, LEAK)),
    ("a balancer's 502", |_| Answer::text(502, "<html>Bad Gateway</html>")),
    ("a 404", |_| Answer::text(404, "not here")),
    ("200 of HTML", |_| Answer::text(200, "<html>Hello</html>")),
    ("an empty 200", |_| Answer::text(200, "")),
    ("204", |_| Answer::text(204, "")),
    ("a status line of garbage", |_| Answer::Raw(b"HTTP/9.9 OK two hundred\r\n\r\n{\"success\":true}".to_vec())),
    ("bytes that are no HTTP", |_| Answer::Raw(vec![0xff; 512])),
    ("chunks of garbage", |_| {
        Answer::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n{}\r\n0\r\n\r\n".to_vec())
    }),
    ("a chunk without an end", |_| {
        Answer::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n{\"success\":true".to_vec())
    }),
    ("a head without an end", |_| Answer::Raw([b"HTTP/1.1 200 OK\r\n".to_vec(), b"x: y\r\n".repeat(4096)].concat())),
    ("a body beyond every limit", |call| {
        let mut decision = call.settlement(true, "", &call.transaction);
        decision["isValid"] = true.into();
        decision["padding"] = "x".repeat(1024 * 1024).into();
        Answer::json(200, &decision)
    }),
    ("a JSON text of a thousand brackets", |_| Answer::text(200, &"[".repeat(1000))),
    ("JSON that is no object", |_| Answer::json(200, &json!([true, "success"]))),
    ("a decision that is neither yes nor no", |call| {
        let mut decision = call.settlement(true, "", &call.transaction);
        decision["success"] = "yes".into();
        decision["isValid"] = "yes".into();
        Answer::json(200, &decision)
    }),
    // To where the answer would be a good one.
    ("a redirect to itself", |call| {
        let path = match call.operation {
            Operation::Verify => "/verify",
            Operation::Settle => "/settle",
        };
        Answer::Full { status: 307, headers: vec![("Location", path.into())], body: Vec::new() }
    }),
];

/// Answers to `/settle` that leave open whether the money moved, besides nonsense.
pub const OPEN_ENDED: &[Saying] = &[
    ("settlement_pending without a transaction", pending_without_a_transaction),
    ("success without a transaction", |call| Answer::json(200, &call.settlement(true, "", ""))),
    ("success without the key", |call| Answer::json(200, &json!({"success": true, "payer": call.payer}))),
    ("success by a transaction that cannot be one", |call| {
        Answer::json(200, &call.settlement(true, "", "0x00\r\nSet-Cookie: x"))
    }),
    ("success by an endless transaction", |call| Answer::json(200, &call.settlement(true, "", &"ab".repeat(4096)))),
    ("a code that nobody knows", |call| Answer::json(200, &call.settlement(false, "it_did_not_work", ""))),
    ("failure without a code", |call| Answer::json(200, &json!({"success": false, "payer": call.payer}))),
    ("unexpected_error in a 500", |call| Answer::json(500, &call.settlement(false, "unexpected_error", ""))),
    ("a code that is no text", |call| {
        Answer::json(200, &json!({"success": false, "errorReason": ["insufficient_funds"], "payer": call.payer}))
    }),
];

/// The same, naming a transaction that only the chain can tell more of.
pub const NAMING: &[Saying] = &[
    ("settlement_pending", pending),
    ("success on another network", |call| {
        let mut decision = call.settlement(true, "", &call.transaction);
        decision["network"] = "eip155:1".into();
        Answer::json(200, &decision)
    }),
    ("success of another payer", |call| Answer::json(200, &of_another(call))),
    ("success in a 500", |call| Answer::json(500, &call.settlement(true, "", &call.transaction))),
    ("failure with a transaction", |call| {
        Answer::json(200, &call.settlement(false, "invalid_exact_evm_transaction_failed", &call.transaction))
    }),
    ("a certain code with a transaction", |call| {
        Answer::json(200, &call.settlement(false, "insufficient_funds", &call.transaction))
    }),
];

/// Answers to `/settle` by which nothing was even looked at.
pub const TURNED_AWAY: &[Saying] =
    &[("401", |_| Answer::text(401, LEAK)), ("403", |_| Answer::text(403, LEAK)), ("429", |_| Answer::text(429, LEAK))];

/// Refusals that are certain, as both facilitators in use say them.
pub const REFUSALS: &[(&str, Saying)] = &[
    ("insufficient_funds", ("no", |call| no(call, 200, "insufficient_funds"))),
    ("insufficient_funds", ("no in a 400", |call| no(call, 400, "insufficient_funds"))),
    ("invalid_exact_evm_signature", ("no to a signature", |call| no(call, 200, "invalid_exact_evm_signature"))),
];

fn no(call: &Call, status: u16, code: &str) -> Answer {
    let decision: Value = match call.operation {
        Operation::Verify => {
            json!({"isValid": false, "invalidReason": code, "invalidMessage": LEAK, "payer": call.payer})
        }
        Operation::Settle => call.settlement(false, code, ""),
    };
    Answer::json(status, &decision)
}
