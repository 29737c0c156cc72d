//! Hundreds of kills in a row, under traffic, at places and at moments that a seed chooses: one gateway with its file, and
//! two that share a database.
//!
//! `FAREBOX_CRASH_KILLS` is the number of kills for each ledger; `FAREBOX_CRASH_SEED` repeats the schedule of a run.

use std::collections::HashMap;
use std::env;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use farebox::x402::Dialect;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

use super::customer::{Customer, HOST, Story};
use super::places::{Place, Trap};
use super::town::Town;
use crate::support::ledger::Entry;
use crate::support::postgres::Postgres;
use crate::support::{Challenge, Gateway, Payer, Request, within};

const KILLS: usize = 300;
/// Customers who come between two kills.
const FRESH_MAX: usize = 4;
/// A kill that no place waits for comes at most so long after its trap has sprung: longer than a payment takes.
const LATER_MAX: Duration = Duration::from_millis(12);
/// One start in so many is killed, too, in its first moments.
const STARTS: u32 = 8;
const FIRST_MOMENTS: Duration = Duration::from_millis(60);
/// Of several gateways all are killed at once, one time in so many.
const ALL: u32 = 4;

/// A route's keys, and the places that each of its payments passes.
type Mode = (&'static str, &'static [Place]);

const ON_SUCCESS: Mode = (
    "settle = \"on-success\"",
    &[Place::Verify, Place::Head, Place::Settling, Place::Moved, Place::Answered, Place::Body],
);
const LOCAL: Mode = (
    "settle = \"on-success\"\nverify = \"local\"",
    &[Place::Head, Place::Settling, Place::Moved, Place::Answered, Place::Body],
);
const BEFORE: Mode =
    ("settle = \"before\"", &[Place::Settling, Place::Moved, Place::Answered, Place::Head, Place::Body]);
const OVERLAP: Mode =
    ("settle = \"overlap\"", &[Place::Settling, Place::Moved, Place::Answered, Place::Head, Place::Body]);
const MODES: u64 = 4;

#[tokio::test]
async fn a_storm_of_kills_under_on_success_costs_nobody_anything() {
    Storm::over_a_file(ON_SUCCESS).await.rage().await;
}

#[tokio::test]
async fn a_storm_of_kills_under_on_success_with_local_verification_costs_nobody_anything() {
    Storm::over_a_file(LOCAL).await.rage().await;
}

#[tokio::test]
async fn a_storm_of_kills_under_before_costs_nobody_anything() {
    Storm::over_a_file(BEFORE).await.rage().await;
}

#[tokio::test]
async fn a_storm_of_kills_under_overlap_costs_nobody_anything() {
    Storm::over_a_file(OVERLAP).await.rage().await;
}

/// At once: they share a server, and wait for each other's leases to end.
#[tokio::test]
async fn a_storm_of_kills_on_gateways_that_share_a_database_costs_nobody_anything() {
    join_all([ON_SUCCESS, LOCAL, BEFORE, OVERLAP].map(async |mode| Storm::over_a_database(mode).await.rage().await))
        .await;
}

struct Storm {
    random: StdRng,
    places: &'static [Place],
    kills: u64,
    town: Arc<Town>,
    gateways: Vec<Gateway>,
    challenge: Challenge,
    customers: JoinSet<Story>,
}

impl Storm {
    async fn over_a_file(mode: Mode) -> Storm {
        Storm::begin(mode, 1, "sqlite:farebox.db").await
    }

    async fn over_a_database(mode: Mode) -> Storm {
        let database = Postgres::shared().database().await;
        Storm::begin(mode, 2, &format!("{database}&sslmode=disable")).await
    }

    async fn begin((keys, places): Mode, gateways: usize, ledger: &str) -> Storm {
        let seed = number("FAREBOX_CRASH_SEED").unwrap_or_else(rand::random);
        let kills = number("FAREBOX_CRASH_KILLS").unwrap_or(KILLS as u64).div_ceil(MODES);
        eprintln!("FAREBOX_CRASH_SEED={seed} repeats this schedule of {kills} kills under {keys:?}");
        let town = Arc::new(Town::found().await);
        let setup = town.setup().route("paid", "/paid", &format!("price = \"$0.01\"\n{keys}")).ledger(ledger);
        let gateways = join_all((0..gateways).map(|_| Gateway::start(setup.clone()))).await;
        let challenge = Challenge::of(&gateways[0].send(Request::get("/paid").header("Host", HOST)).await);
        let random = StdRng::seed_from_u64(seed);
        Storm { random, places, kills, town, gateways, challenge, customers: JoinSet::new() }
    }

    async fn rage(mut self) {
        let mut killed = 0;
        while killed < self.kills {
            let victims = self.strike().await;
            killed += victims.len() as u64;
            for victim in victims {
                if self.random.random_ratio(1, STARTS) {
                    let moment = self.moment(FIRST_MOMENTS);
                    self.gateways[victim].start_and_kill(moment).await;
                    killed += 1;
                }
                self.gateways[victim].start_again().await;
            }
        }
        let customers = std::mem::take(&mut self.customers);
        let stories = within("every customer to be served", customers.join_all()).await;
        self.compare(stories);
    }

    /// New customers come to those who are there already, and in the middle of it: `kill -9`. Says who was killed.
    async fn strike(&mut self) -> Vec<usize> {
        let fresh = self.random.random_range(1..=FRESH_MAX);
        let trap = Trap {
            place: *self.places.choose(&mut self.random).expect("a place"),
            nth: self.random.random_range(1..=fresh),
            holds: self.random.random(),
            carries_on: self.random.random(),
        };
        let later = if trap.holds { Duration::ZERO } else { self.moment(LATER_MAX) };
        let first = self.random.random_range(0..self.gateways.len());
        let victims = if self.random.random_ratio(1, ALL) { (0..self.gateways.len()).collect() } else { vec![first] };

        let sprung = self.town.places.set(trap);
        for _ in 0..fresh {
            self.welcome();
        }
        within("a trap that springs", sprung).await.expect("a trap");
        pass(later).await;
        for victim in &victims {
            self.gateways[*victim].kill_now();
        }
        for victim in &victims {
            self.gateways[*victim].wait_exit().await;
        }
        self.town.places.lift();
        victims
    }

    fn welcome(&mut self) {
        let dialect = if self.random.random() { Dialect::V1 } else { Dialect::V2 };
        let mut gateways: Vec<SocketAddr> = self.gateways.iter().map(Gateway::address).collect();
        gateways.rotate_left(self.random.random_range(0..self.gateways.len()));
        let customer = Customer { payer: Payer::new(), dialect, challenge: self.challenge.clone() };
        self.customers.spawn(customer.shop(self.town.clone(), gateways));
    }

    /// The facilitator's books, the ledger, the upstream and the customers agree.
    fn compare(&self, stories: Vec<Story>) {
        let entries: HashMap<String, Entry> =
            self.gateways[0].ledger().into_iter().map(|entry| (entry.text("payer").to_owned(), entry)).collect();
        for Story { payer, refusals } in &stories {
            let (entry, charged) = (&entries[payer], self.town.charged(payer));
            assert_eq!(charged, 1, "{payer} was told: {refusals:?}");
            assert!(refusals.is_empty(), "{payer} was told: {refusals:?}");
            assert_eq!(entry.state(), "settled", "{payer}: {}", entry.0);
            let ids = self.town.ids(payer);
            assert!(ids.iter().all(|id| id == entry.id()), "{payer}: the upstream was told of {ids:?}");
        }
        assert_eq!(entries.len(), stories.len(), "one payment in the ledger for each");
    }

    fn moment(&mut self, most: Duration) -> Duration {
        self.random.random_range(Duration::ZERO..=most)
    }
}

/// Lets time pass, to the microsecond: the runtime's own clock ticks too coarsely for a random moment.
async fn pass(time: Duration) {
    tokio::task::spawn_blocking(move || std::thread::sleep(time)).await.expect("a thread");
}

fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")))
}
