//! A comparison as data.

use serde_json::{Value, json};

use super::{Change, Changed, Diff, Setting, SettingsChange};

/// The whole comparison as JSON.
pub fn report(diff: &Diff, names: (&str, &str)) -> Value {
    json!({
        "same": diff.is_same(),
        "before": names.0,
        "after": names.1,
        "requests": {"compared": diff.compared, "leftOut": diff.left_out, "changed": diff.changed()},
        "changes": diff.changes.iter().map(change).collect::<Value>(),
        "settings": diff.settings.iter().map(settings_change).collect::<Value>(),
    })
}

fn change(change: &Change) -> Value {
    let request = |changed: &Changed| {
        json!({
            "request": changed.asked,
            "facts": changed.facts.iter().map(setting).collect::<Value>(),
        })
    };
    json!({
        "decidedBy": {"before": change.decided.0, "after": change.decided.1},
        "requests": change.requests.iter().map(request).collect::<Value>(),
    })
}

fn settings_change(change: &SettingsChange) -> Value {
    json!({"name": change.name, "settings": change.settings.iter().map(setting).collect::<Value>()})
}

fn setting(setting: &Setting) -> Value {
    json!({"what": setting.what, "before": setting.before, "after": setting.after})
}
