//! Security: what strangers, other users and other processes can do and see.

mod exposure;
mod floods;
mod foreign_senders;
mod hostile_claims;
mod hostile_frames;
mod keys;
mod privileges;
mod socket_guard;
mod unprivileged_users;
