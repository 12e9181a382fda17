//! The thread that takes samples.
