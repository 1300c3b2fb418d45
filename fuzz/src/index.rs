//! The index chooses what a walk over all routes chooses.

/// Routes and requests are made of `data`.
pub fn run(data: &[u8]) {
    portolan_engine::index_agrees_with_oracle(data);
}
