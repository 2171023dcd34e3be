//! Groups of resources, and the resource agents that run them.

mod agent_killed;
mod apache;
mod constraints;
mod groups;
mod misbehaving_agents;
mod placement;
mod programs;
mod stops;
