//! No pattern and no text stops the engine.

use portolan_engine::Pattern;

/// `data` is a pattern, a zero byte, and the text that it is held against.
pub fn run(data: &[u8]) {
    let (pattern, text) = crate::split(data);
    if let Ok(pattern) = str::from_utf8(pattern)
        && let Ok(pattern) = Pattern::new(pattern)
    {
        pattern.matches(text);
    }
}
