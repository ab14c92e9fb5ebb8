//! Black-box tests for OCI runtimes.
