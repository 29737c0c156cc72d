//! Somebody who pays as every conforming client does: sends the same payment again until it is served, and signs another
//! one only when told that it takes one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use farebox::x402::Dialect;

use super::town::{Town, goods};
use crate::support::{Challenge, Connection, Payer, Payment, Request, Response};

/// Whoever was cut off or told to wait comes again after so long.
const PAUSE: Duration = Duration::from_millis(20);
/// The host by which every gateway is known.
pub const HOST: &str = "shop.test";

pub struct Customer {
    pub payer: Payer,
    pub dialect: Dialect,
    pub challenge: Challenge,
}

/// A customer who has been served.
pub struct Story {
    pub payer: String,
    /// The answers for which another payment was signed.
    pub refusals: Vec<Response>,
}

/// What an answer means to its client.
enum Meaning {
    Served,
    SamePaymentAgain,
    AnotherPayment,
}

impl Customer {
    /// Goes to each of these gateways in turn.
    pub async fn shop(self, town: Arc<Town>, gateways: Vec<SocketAddr>) -> Story {
        let payer = self.payer.address().to_string();
        let mut payment = self.sign();
        let mut refusals = Vec::new();
        for gateway in gateways.iter().cycle() {
            if let Some(response) = send(*gateway, &payment).await {
                match read(&payer, &town, &response) {
                    Meaning::Served => return Story { payer, refusals },
                    Meaning::SamePaymentAgain => {}
                    Meaning::AnotherPayment => {
                        payment = self.sign();
                        refusals.push(response);
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        unreachable!("there is a gateway")
    }

    fn sign(&self) -> Payment {
        self.payer.draft(&self.challenge, self.dialect).sign(&self.payer)
    }
}

/// As much of a response as came before the gateway was killed.
async fn send(gateway: SocketAddr, payment: &Payment) -> Option<Response> {
    let mut connection = Connection::try_open(gateway).await?;
    connection.send(&Request::get("/paid").header("Host", HOST).paid(payment)).await;
    let head = connection.try_head("GET").await?;
    Some(connection.finish(head).await)
}

fn read(payer: &str, town: &Town, response: &Response) -> Meaning {
    match response.status {
        200 => {
            // What came before a cut has been paid for, too.
            assert_eq!(town.charged(payer), 1, "{payer} was served: {response:?}");
            assert!(goods(payer).starts_with(&response.text()), "{payer}: {response:?}");
            if !response.complete {
                return Meaning::SamePaymentAgain;
            }
            assert_eq!(response.text(), goods(payer));
            Meaning::Served
        }
        503 => {
            assert_eq!(response.error(), "settlement_pending", "{payer}");
            assert_eq!(response.json()["retry"], "same_payment", "{payer}");
            Meaning::SamePaymentAgain
        }
        409 => {
            assert_eq!(response.error(), "payment_in_use", "{payer}");
            Meaning::SamePaymentAgain
        }
        402 => Meaning::AnotherPayment,
        other => panic!("{payer}: {other}: {response:?}"),
    }
}
