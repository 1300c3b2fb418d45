//! The JSON Schema of the plugin config, held against plugin configs. To write the file in `docs`, run
//!
//! ```text
//! UPDATE=1 cargo test -p portolan-config-gen --test schema
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use portolan_engine::Config;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn validator() -> jsonschema::Validator {
    let schema = Config::schema();
    assert!(jsonschema::meta::is_valid(&schema), "the schema itself is one");
    jsonschema::validator_for(&schema).unwrap()
}

fn read(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(root().join(path)).unwrap()).unwrap()
}

/// A config with every sort of part.
fn rich() -> Value {
    json!({
        "version": 1,
        "mode": "proxy",
        "outboundTrafficPolicy": {"mode": "ALLOW_ANY", "cluster": "P", "upstreamPorts": [[80, 8080]]},
        "originalDestinations": {"c": {"cluster": "d", "addresses": ["10.0.0.0/8"]}},
        "virtualHosts": [{
            "name": "VirtualService default/a",
            "domains": ["a", "*.a"],
            "ports": [80, 8e1, 81.0],
            "routes": [{
                "name": "http[0]",
                "match": {
                    "path": {"prefix": "/a"},
                    "ignorePathCase": true,
                    "method": {"exact": "GET"},
                    "headers": [{"name": "x", "value": "present", "invert": true}],
                    "queryParameters": [{"name": "v", "value": {"regex": "[0-9]+"}}],
                },
                "route": {
                    "destinations": [
                        {"cluster": "c", "weight": 1, "dial": {"host": "*.a", "port": 443}},
                        {"cluster": "d", "weight": 9, "requestHeaders": {"set": [["x", "1"]]}},
                    ],
                    "rewrite": {"pathRegex": {"pattern": "a", "replacement": "b"}, "authority": "b"},
                    "timeoutMs": 5000,
                    "retries": {"attempts": 2, "retryOn": ["5xx"], "statusCodes": [503]},
                    "cors": {"allowOrigins": [{"exact": "https://a"}], "allowCredentials": true},
                    "fault": {"delay": {"ms": 5, "perMillion": 1}, "abort": {"status": 503, "perMillion": 1}},
                },
            }, {
                "name": "http[1]",
                "route": {"redirect": {"code": 301, "authority": "b", "port": 443}},
            }, {
                "name": "http[2]",
                "route": {"directResponse": {"status": 200, "body": {"text": "hello"}}},
            }],
        }, {
            "name": "ServiceEntry default/b",
            "domains": ["b"],
            "refuse": "onlyTlsPorts",
        }],
        "sharedRoutes": [{
            "namePrefix": "ServiceEntry default/",
            "virtualHosts": ["c: c", "d: d."],
            "ports": [80],
            "routes": [{"name": "default", "route": {"cluster": "c", "dial": {"port": 80}}}],
        }, {
            "virtualHosts": "gzip:H4sIAAAAAAACAwMAAAAAAAAAAAA=",
        }],
        "connect": {
            "tunnels": [{"name": "n", "domains": ["t"], "ports": [443], "clusters": [["c", 1]], "tls": {}}],
            "http": [[80, "tunnel_http_80"]],
        },
    })
}

#[test]
fn the_schema_in_the_documentation_is_this_one() {
    let path = root().join("docs/plugin-config.schema.json");
    let schema = format!("{:#}\n", Config::schema());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &schema).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap_or_default() == schema, "refresh it with UPDATE=1");
}

#[test]
fn plugin_configs_fit_the_schema() {
    let validator = validator();
    let own = rich();
    Config::from_json(own.to_string().as_bytes()).unwrap();
    let files = [
        "examples/webserver/generated/plugin-config.json",
        "examples/weather/generated/plugin-config.json",
        "config-gen/tests/commands/plugin-config.json",
        "config-gen/tests/commands/mesh-plugin-config.json",
    ];
    for (name, config) in files.iter().map(|file| (*file, read(file))).chain([("rich", own)]) {
        let errors: Vec<String> = validator.iter_errors(&config).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

/// Every object of `value`, by its JSON pointer.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.push(at.to_owned());
            fields.iter().for_each(|(name, field)| objects(field, &format!("{at}/{name}"), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| objects(item, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

/// Schema and reader agree on what is no plugin config: on each field that is added or taken away,
/// and on wrong values.
#[test]
fn the_schema_refuses_what_the_filter_refuses() {
    let validator = validator();
    let good = rich();
    let mut places = Vec::new();
    objects(&good, "", &mut places);
    let mut changed: Vec<(String, Value)> = Vec::new();
    for place in &places {
        let fields = good.pointer(place).and_then(Value::as_object).unwrap();
        let mut more = good.clone();
        more.pointer_mut(place).unwrap()["unknownField"] = json!(1);
        changed.push((format!("{place} with an unknown field"), more));
        for name in fields.keys() {
            let mut less = good.clone();
            less.pointer_mut(place).unwrap().as_object_mut().unwrap().shift_remove(name);
            changed.push((format!("{place} without {name}"), less));
        }
    }
    for (place, wrong) in [
        ("/version", json!(2)),
        ("/mode", json!("sidecar")),
        ("/outboundTrafficPolicy/mode", json!("ALLOW_SOME")),
        ("/virtualHosts", json!({})),
        ("/virtualHosts/0/ports/0", json!(80.5)),
        ("/virtualHosts/0/ports/0", json!(65536)),
        ("/virtualHosts/0/ports/0", json!("80")),
        ("/virtualHosts/0/routes/0/match/path", json!({"suffix": "/a"})),
        ("/virtualHosts/0/routes/0/match/path", json!("absent")),
        ("/virtualHosts/1/refuse", json!("because")),
        ("/connect/http/0", json!([80])),
    ] {
        let mut config = good.clone();
        *config.pointer_mut(place).unwrap() = wrong.clone();
        changed.push((format!("{place} = {wrong}"), config));
    }
    let mut refused = 0;
    for (what, config) in &changed {
        let read = Config::from_json(config.to_string().as_bytes());
        assert_eq!(validator.is_valid(config), read.is_ok(), "{what}: {read:?}");
        refused += usize::from(read.is_err());
    }
    println!("{} changes, of which {refused} are refused", changed.len());
    assert!(refused > places.len());
}
