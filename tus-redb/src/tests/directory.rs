//! On the operating system's disk.
