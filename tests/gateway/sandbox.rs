//! The facilitator in the gateway's own process: paying without a chain.

use crate::support::{Challenge, Gateway, Payer, Payment, Request, Response, Setup, Upstream};

struct Sandbox {
    upstream: Upstream,
    gateway: Gateway,
}

impl Sandbox {
    async fn start(keys: &str, price: &str) -> Sandbox {
        let upstream = Upstream::start().await;
        let setup = Setup::at(upstream.address(), &format!("url = \"sandbox:\"\n{keys}"));
        let gateway = Gateway::start(setup.route("paid", "/paid/*", &format!("price = \"{price}\""))).await;
        Sandbox { upstream, gateway }
    }

    async fn challenge(&self) -> Challenge {
        Challenge::of(&self.gateway.send(Request::get("/paid/ok")).await)
    }

    async fn redeem(&self, payment: &Payment) -> Response {
        self.gateway.send(Request::get("/paid/ok").paid(payment)).await
    }
}

#[tokio::test]
async fn a_payment_settles_with_a_transaction_that_says_it_is_not_real() {
    let sandbox = Sandbox::start("", "$0.01").await;
    let (payer, challenge) = (Payer::new(), sandbox.challenge().await);
    for payment in [payer.pay_v2(&challenge), payer.pay_v1(&challenge)] {
        let response = sandbox.redeem(&payment).await;
        assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{response:?}");
        let settlement = response.settlement().or(response.settlement_v1()).expect("a settlement");
        let transaction = settlement["transaction"].as_str().expect("a hash").to_owned();
        let sandbox_in_ascii = "73616e64626f78";
        assert!(transaction.starts_with("0x") && transaction.len() == 66, "{transaction}");
        assert!(transaction.contains(sandbox_in_ascii), "{transaction}");
    }
    assert_eq!(sandbox.gateway.ledger().len(), 2);
}

#[tokio::test]
async fn a_payer_has_what_the_file_says_and_no_more() {
    let sandbox = Sandbox::start("balance = \"1\"", "$0.40").await;
    let payer = Payer::new();
    let challenge = sandbox.challenge().await;
    for expected in [200, 200, 402] {
        let response = sandbox.redeem(&payer.pay_v2(&challenge)).await;
        assert_eq!(response.status, expected, "{response:?}");
        if expected == 402 {
            assert_eq!(response.error(), "insufficient_funds");
        }
    }
    assert_eq!(sandbox.redeem(&Payer::new().pay_v2(&challenge)).await.status, 200, "another payer has his own");
    assert_eq!(sandbox.upstream.count(), 3);
}

#[tokio::test]
async fn it_can_be_told_to_fail() {
    for (fail, status, error, served) in
        [("verify", 402, None, 0), ("settle", 402, None, 1), ("settle-answer", 503, Some("settlement_pending"), 1)]
    {
        let sandbox = Sandbox::start(&format!("fail = \"{fail}\""), "$0.01").await;
        let payment = Payer::new().pay_v2(&sandbox.challenge().await);
        let response = sandbox.redeem(&payment).await;
        assert_eq!(response.status, status, "{fail}: {response:?}");
        if let Some(error) = error {
            assert_eq!(response.error(), error, "{fail}");
        }
        assert_eq!(sandbox.upstream.count(), served, "{fail}");
        assert_ne!(response.text(), "ok", "{fail}");
    }
}

#[tokio::test]
async fn its_balances_survive_a_reload() {
    let sandbox = Sandbox::start("balance = \"0.01\"", "$0.01").await;
    let payer = Payer::new();
    let challenge = sandbox.challenge().await;
    assert_eq!(sandbox.redeem(&payer.pay_v2(&challenge)).await.status, 200);
    let text = std::fs::read_to_string(sandbox.gateway.config()).expect("the file");
    sandbox.gateway.rewrite_text(&format!("{text}description = \"changed\"\n"));
    assert_eq!(sandbox.gateway.reload().await.status, 200);
    assert_eq!(sandbox.redeem(&payer.pay_v2(&sandbox.challenge().await)).await.status, 402, "spent is spent");
}
