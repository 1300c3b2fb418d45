//! The same rules as Envoy's own: as the list that istiod generates, and as a matcher tree.

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use crate::configs::action_to;

/// A virtual host with a list of routes.
pub(crate) fn list(host: &Value, action: &Value) -> Result<Value> {
    let routes = routes(host)?.iter().map(|route| {
        let matcher = conditions(route.get("match").unwrap_or(&Value::Null))?;
        own_route(route, &matcher, action)
    });
    Ok(json!({
        "name": host["name"],
        "domains": host["domains"],
        "routes": routes.collect::<Result<Vec<_>>>()?,
    }))
}

/// A virtual host with a matcher tree; none where it can't express the rules, which all have to ask
/// the same input in the same way. Of several prefixes a tree takes the longest, not the first.
pub(crate) fn tree(host: &Value, action: &Value) -> Result<Option<Value>> {
    let mut input = None;
    let mut map = Map::new();
    for route in routes(host)? {
        let Some((asked, text)) = route.get("match").and_then(single_text) else { return Ok(None) };
        if *input.get_or_insert_with(|| asked.clone()) != asked {
            return Ok(None);
        }
        let mut own = own_route(route, &json!({"prefix": "/"}), action)?;
        own["@type"] = json!("type.googleapis.com/envoy.config.route.v3.Route");
        map.insert(text.to_owned(), json!({"action": {"name": "route", "typed_config": own}}));
    }
    let Some((way, mut input)) = input else { return Ok(None) };
    input["@type"] = json!("type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput");
    Ok(Some(json!({
        "name": host["name"],
        "domains": host["domains"],
        "matcher": {"matcher_tree": {
            "input": {"name": "header", "typed_config": input},
            way: {"map": map},
        }},
    })))
}

fn routes(host: &Value) -> Result<&Vec<Value>> {
    host["routes"].as_array().context("no routes")
}

fn own_route(route: &Value, matcher: &Value, action: &Value) -> Result<Value> {
    let cluster = route["route"].get("cluster").context("no cluster")?;
    Ok(json!({"name": route["name"], "match": matcher, "route": action_to(action, cluster, None)}))
}

/// The conditions of a route of ours, as istiod writes them.
fn conditions(matcher: &Value) -> Result<Value> {
    let path = matcher.get("path");
    let text = |way: &str| path.and_then(|path| path.get(way));
    let mut own = if let Some(exact) = text("exact") {
        json!({"path": exact, "case_sensitive": true})
    } else if let Some(prefix) = text("prefix") {
        json!({"prefix": prefix, "case_sensitive": true})
    } else if let Some(regex) = text("regex") {
        json!({"safe_regex": {"regex": regex}, "case_sensitive": true})
    } else {
        json!({"prefix": "/", "case_sensitive": true})
    };
    for (theirs, ours) in [("headers", "headers"), ("query_parameters", "queryParameters")] {
        let Some(list) = matcher.get(ours).and_then(Value::as_array) else { continue };
        let convert = |one: &Value| match one["value"].get("exact") {
            Some(exact) => Ok(json!({"name": one["name"], "string_match": {"exact": exact}})),
            None => bail!("not an exact value: {one}"),
        };
        own[theirs] = list.iter().map(convert).collect::<Result<_>>()?;
    }
    Ok(own)
}

/// The map of a matcher tree and its input, and the text to be found there, where there is but one
/// condition.
fn single_text(matcher: &Value) -> Option<((&'static str, Value), &str)> {
    const EXACT: &str = "exact_match_map";
    let [(field, value)] = matcher.as_object()?.iter().collect::<Vec<_>>()[..] else { return None };
    if field == "path" {
        let input = json!({"header_name": ":path"});
        let exact = value.get("exact").and_then(Value::as_str).map(|text| (EXACT, text));
        let prefix = value.get("prefix").and_then(Value::as_str).map(|text| ("prefix_match_map", text));
        let (way, text) = exact.or(prefix)?;
        return Some(((way, input), text));
    }
    // Envoy's routes take no other input than a header.
    let ("headers", [only]) = (field.as_str(), &value.as_array()?[..]) else { return None };
    Some(((EXACT, json!({"header_name": only["name"]})), only["value"]["exact"].as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(matchers: &[Value]) -> Value {
        let routes: Vec<Value> = matchers
            .iter()
            .map(|matcher| json!({"name": "r", "match": matcher, "route": {"cluster": "c"}}))
            .collect();
        json!({"name": "h", "domains": ["h"], "routes": routes})
    }

    #[test]
    fn rules_of_one_input_become_a_tree_and_others_do_not() {
        let prefix = |text: &str| json!({"path": {"prefix": text}});
        let header = json!({"headers": [{"name": "x", "value": {"exact": "1"}}]});
        let tree = |matchers: &[Value]| tree(&host(matchers), &json!({})).unwrap();
        let both = tree(&[prefix("/a"), prefix("/b")]).unwrap();
        let map = &both["matcher"]["matcher_tree"]["prefix_match_map"]["map"];
        assert_eq!(map["/b"]["action"]["typed_config"]["route"]["cluster"], "c");
        assert!(tree(std::slice::from_ref(&header)).is_some());
        assert_eq!(tree(&[prefix("/a"), header]), None);
        assert_eq!(tree(&[json!({"path": {"regex": ".*"}})]), None);
    }

    #[test]
    fn a_list_has_istiods_conditions() {
        let list = list(&host(&[json!({"path": {"regex": "/a.*"}})]), &json!({"timeout": "0s"})).unwrap();
        let expected = json!({"safe_regex": {"regex": "/a.*"}, "case_sensitive": true});
        assert_eq!(list["routes"][0]["match"], expected);
        assert_eq!(list["routes"][0]["route"], json!({"timeout": "0s", "cluster": "c"}));
    }
}
