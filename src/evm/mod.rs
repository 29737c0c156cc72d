//! EIP-712 and EIP-3009 with alloy: what can be judged of a payment without asking anybody.

pub mod eip3009;
