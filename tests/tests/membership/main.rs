//! Which nodes belong to the cluster, and whose votes count.

mod address_under_two_names;
mod nodes_change;
mod thousand_nodes;
mod witness;
