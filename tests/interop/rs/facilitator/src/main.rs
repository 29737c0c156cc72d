//! x402-rs's facilitator behind its own HTTP handlers, for x402 v1 and v2, scheme `exact` on the lab's chain. Its first
//! line of output is {"port": …}; SIGTERM ends it.
//!
//! LAB_RPC        the chain's JSON-RPC
//! LAB_KEY        the private key that pays the gas

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use alloy_provider::Provider;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use x402_chain_eip155::chain::config::{Eip155ChainConfig, Eip155ChainConfigInner, RpcConfig};
use x402_chain_eip155::chain::{Eip155ChainProvider, Eip155ChainReference, Eip155MetaTransactionProvider};
use x402_chain_eip155::{V1Eip155Exact, V2Eip155Exact};
use x402_facilitator_local::{FacilitatorLocal, handlers};
use x402_types::chain::{ChainId, ChainIdPattern, ChainProviderOps, ChainRegistry, FromConfig};
use x402_types::config::LiteralOrEnv;
use x402_types::scheme::{
    SchemeBlueprints, SchemeConfig, SchemeRegistry, X402SchemeFacilitator, X402SchemeFacilitatorBuilder,
};

const CHAIN_ID: u64 = 84532;
/// alloy's own seven seconds would be the price of every settlement that waits for a block.
const POLLING: Duration = Duration::from_millis(25);
/// As long as x402-rs waits by itself.
const RECEIPT_TIMEOUT_SECONDS: u64 = 30;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut end = signal(SignalKind::terminate())?;
    let chain = Chain::connect(&env::var("LAB_RPC")?, &env::var("LAB_KEY")?).await?;
    let chains = ChainRegistry::new(HashMap::from([(chain.chain_id(), chain)]));
    let blueprints = SchemeBlueprints::new().and_register(V1Eip155Exact).and_register(V2Eip155Exact);
    let schemes = ["v1-eip155-exact", "v2-eip155-exact"].map(|id| SchemeConfig {
        enabled: true,
        id: id.to_owned(),
        chains: ChainIdPattern::wildcard("eip155"),
        config: None,
    });
    let facilitator = FacilitatorLocal::new(SchemeRegistry::build(chains, blueprints, &schemes.into()));
    let router = handlers::routes().with_state(Arc::new(facilitator));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{{\"port\":{}}}", listener.local_addr()?.port());
    tokio::select! {
        served = axum::serve(listener, router) => Ok(served?),
        _ = end.recv() => Ok(()),
    }
}

/// A type of this program's own, because x402-rs's builders are for a provider that is held by reference.
struct Chain(Arc<Eip155ChainProvider>);

impl Chain {
    async fn connect(rpc: &str, key: &str) -> Result<Chain, Box<dyn Error>> {
        let rpc = RpcConfig { http: LiteralOrEnv::from_literal(rpc.parse()?), rate_limit: None };
        let provider = Eip155ChainProvider::from_config(&Eip155ChainConfig {
            chain_reference: Eip155ChainReference::new(CHAIN_ID),
            inner: Eip155ChainConfigInner {
                eip1559: true,
                flashblocks: false,
                signers: vec![LiteralOrEnv::from_literal(key.parse()?)],
                rpc: vec![rpc],
                receipt_timeout_secs: RECEIPT_TIMEOUT_SECONDS,
            },
        })
        .await?;
        provider.inner().client().set_poll_interval(POLLING);
        Ok(Chain(Arc::new(provider)))
    }
}

impl ChainProviderOps for Chain {
    fn signer_addresses(&self) -> Vec<String> {
        self.0.signer_addresses()
    }

    fn chain_id(&self) -> ChainId {
        self.0.chain_id()
    }
}

macro_rules! builds_on_chain {
    ($($scheme:ty),+) => {$(
        impl X402SchemeFacilitatorBuilder<&Chain> for $scheme {
            fn build(
                &self,
                chain: &Chain,
                config: Option<serde_json::Value>,
            ) -> Result<Box<dyn X402SchemeFacilitator>, Box<dyn Error>> {
                X402SchemeFacilitatorBuilder::build(self, chain.0.clone(), config)
            }
        }
    )+};
}
builds_on_chain!(V1Eip155Exact, V2Eip155Exact);
