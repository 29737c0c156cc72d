//! A client that is gone when the last byte is written has not been served.
//!
//! What TCP lets a server know: a write fails if the client's reset, or nothing at all for `send_timeout`, came before it.
//! What the kernel has taken counts as written, whether or not it ever arrives.

use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::h2::Http2;
use crate::support::{House, Payment, Request, eventually, within};

const SPENT: &str = "invalid_exact_evm_nonce_already_used";
/// Whether the gateway first sees the reset or the last byte is chance: often enough for both.
const ROUNDS: usize = 6;
/// More than the gateway gathers before it writes: what comes after is a write of its own.
const FIRST_BYTES: usize = 40_000;

#[derive(Debug, Clone, Copy)]
enum Framing {
    Announced,
    Chunked,
}

/// The upstream's next answer, whose last byte is not sent yet.
async fn all_but_the_last(house: &House, framing: Framing) -> mpsc::Sender<Vec<u8>> {
    let pieces = match framing {
        Framing::Announced => house.upstream.announce(FIRST_BYTES + 1),
        Framing::Chunked => house.upstream.stream(),
    };
    pieces.send(vec![b'f'; FIRST_BYTES]).await.expect("the upstream is asked");
    pieces
}

/// The last byte waits in the gateway's socket, and its client is gone, before the gateway sees either.
async fn lose_the_last(house: &House, pieces: mpsc::Sender<Vec<u8>>, vanish: impl Future<Output = ()>) {
    house.gateway.stand_still().await;
    pieces.send(b"l".to_vec()).await.expect("the upstream is read");
    eventually("the last byte to be on its way", async || (pieces.capacity() == pieces.max_capacity()).then_some(()))
        .await;
    drop(pieces);
    tokio::task::yield_now().await;
    vanish.await;
    house.gateway.sigcont();
    eventually("the request to end", async || {
        (house.gateway.metrics().await.sum("farebox_in_flight_requests", &[]) == 0.0).then_some(())
    })
    .await;
}

/// The newest payment is owed, and had with the same payment.
async fn is_served_again(house: &House, payment: &Payment, case: &str) {
    let newest = &house.gateway.ledger()[0];
    assert_eq!((newest.state(), newest.delivered()), ("settled", false), "{case}");
    let again = house.redeem("/paid/ok", payment).await;
    assert_eq!((again.status, again.text().as_str(), again.complete), (200, "ok", true), "{case}");
    eventually("the payment to be delivered", async || house.gateway.ledger()[0].delivered().then_some(())).await;
    let spent = house.redeem("/paid/ok", payment).await;
    assert_eq!((spent.status, spent.error().as_str()), (402, SPENT), "{case}");
}

#[tokio::test]
async fn a_client_that_is_gone_at_the_last_byte_is_served_again() {
    for settle in ["on-success", "before"] {
        let house = House::with_route(&format!("settle = \"{settle}\"")).await;
        for framing in [Framing::Announced, Framing::Chunked] {
            for round in 0..ROUNDS {
                let payment = house.payment("/paid/sse").await;
                let pieces = all_but_the_last(&house, framing).await;
                let mut connection = house.gateway.connect().await;
                connection.send(&Request::get("/paid/sse").paid(&payment)).await;
                let head = connection.head("GET").await;
                assert_eq!(head.status, 200);
                lose_the_last(&house, pieces, async { connection.vanish() }).await;
                is_served_again(&house, &payment, &format!("{settle} {framing:?} {round}")).await;
            }
        }
    }
}

#[tokio::test]
async fn so_is_one_over_http2() {
    let house = House::with_route("").await;
    for framing in [Framing::Announced, Framing::Chunked] {
        for round in 0..ROUNDS {
            let payment = house.payment("/paid/sse").await;
            let pieces = all_but_the_last(&house, framing).await;
            let address = house.gateway.address();
            let stream = within("a connection", TcpStream::connect(address)).await.expect("a connection");
            stream.set_zero_linger().expect("a socket option");
            let mut client = Http2::over(stream, address.to_string(), "http").await;
            let (response, _stream) =
                client.begin(&Request::get("/paid/sse").paid(&payment), true).await.expect("a stream");
            let (head, mut body) = within("the head", response).await.expect("a head").into_parts();
            assert_eq!(head.status, 200);
            within("a piece", body.data()).await.expect("a piece").expect("a piece");
            lose_the_last(&house, pieces, client.vanish()).await;
            is_served_again(&house, &payment, &format!("{framing:?} {round}")).await;
        }
    }
}

/// As with any server: nobody tells it what becomes of bytes that its kernel has taken.
#[tokio::test]
async fn what_the_kernel_has_taken_is_written_whether_or_not_it_is_read() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/ok").await;
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/ok").paid(&payment)).await;
    house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
    connection.vanish();
    let again = house.redeem("/paid/ok", &payment).await;
    assert_eq!((again.status, again.error().as_str()), (402, SPENT));
}
