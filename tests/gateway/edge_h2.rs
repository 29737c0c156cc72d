//! HTTP/2 towards clients.

use crate::support::{House, Http2, Request};

#[tokio::test]
async fn a_client_that_knows_speaks_http2_without_tls() {
    let house = House::with_route("").await;
    let mut client = Http2::open(house.gateway.address()).await;
    let free = client.exchange(&Request::get("/free/a?q=1")).await;
    assert_eq!((free.status, free.text().as_str()), (200, "ok"));
    let request = house.upstream.only_request();
    assert_eq!(request.target, "/free/a?q=1");
    assert_eq!(request.header("x-forwarded-host"), Some(house.gateway.address().to_string().as_str()));
    let challenge = client.exchange(&Request::get("/paid/a")).await;
    assert_eq!(challenge.status, 402, "{challenge:?}");
}
