//! The only readers of the kernel.
