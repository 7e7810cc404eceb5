//! The REST interface: requests in, commands and queries behind them, problem details where
//! something is wrong.

pub mod problem;
