"""HTTPayer, paying directly: without its relay, from a private key. One client per job, as with x402 1.x inside it."""

from functools import partial

from httpayer import HTTPayerClient
from httpayer._vendor.x402.clients.base import decode_x_payment_response
from serve import TIMEOUT_SECONDS, answer, hello, jobs, own_error, reply

# Where nobody listens: it asks its relay for its settings, does without, and may hand it nothing else.
NO_RELAY = "http://127.0.0.1:9"


def paying_client(key):
    client = HTTPayerClient(
        router_url=NO_RELAY, private_key=key, network="base-sepolia", privacy_mode=False, timeout=TIMEOUT_SECONDS
    )
    # It forgets its timeout when it pays.
    client.x402_session.request = partial(client.x402_session.request, timeout=TIMEOUT_SECONDS)
    return client


hello("httpayer")
for job in jobs():
    try:
        response = paying_client(job["key"]).request(
            job["method"], job["url"], headers=job["headers"], data=job["body"]
        )
        reply(answer(job, response.status_code, response.content, response.headers, decode_x_payment_response))
    except Exception as error:
        reply(own_error(error))
