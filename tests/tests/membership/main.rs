//! The nodes of the cluster, and the votes that count.

mod address_under_two_names;
mod nodes_change;
mod thousand_nodes;
mod witness;
