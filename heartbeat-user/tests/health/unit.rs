//! Checks of systemd's units.
