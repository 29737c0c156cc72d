//! EVM chains with alloy: [`eip3009`] is what can be judged of a payment without asking anybody, [`chain`] what a node
//! says became of it.

pub mod chain;
pub mod eip3009;
