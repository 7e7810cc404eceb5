//! The REST interface: requests in, commands and queries behind them, problem details where
//! something is wrong.

pub mod edge;
pub mod problem;
pub mod settings;
