//! The resources of a group on one node: stories that state every effect, and a simulated node on
//! which anything happens in any order.

mod failures;
mod maintenance;
mod node;
mod operator;
mod service;
mod shadow;
mod simulation;
mod story;
