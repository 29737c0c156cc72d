//! Ports for a binary that must be told where to listen.

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range that systems take outgoing connections' ports from, so that none of those gets in the way.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// A TCP port of 127.0.0.1 that no other test takes while this value lives.
///
/// The UDP port of the same number is held as its claim: TCP does not mind, other test processes respect it, and
/// the kernel drops it with the process.
pub struct Port {
    pub number: u16,
    _claim: UdpSocket,
}

impl Port {
    pub fn claim() -> Port {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Processes that start together begin at different places.
        let offset = (std::process::id() % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = FIRST + ((u32::from(offset) * 7 + u32::from(step)) % u32::from(COUNT)) as u16;
            let Ok(claim) = UdpSocket::bind(("127.0.0.1", number)) else { continue };
            if TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Port { number, _claim: claim };
            }
        }
        panic!("no port between {FIRST} and {} is free", FIRST + COUNT);
    }
}
