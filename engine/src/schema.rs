//! The form of the plugin config as JSON Schema, for editors and checks.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use serde_json::Value;

use crate::config::Config;

/// What the schema can't say.
const DESCRIPTION: &str = "The config of Portolan's filter, which `config-gen` writes. Contradictions between \
    its parts, such as a domain that two virtual hosts have, are no matter of this schema: the filter refuses \
    them when it loads the config.";

impl Config {
    /// The form of a plugin config as JSON Schema, draft 2020-12.
    ///
    /// Every config that [`Config::from_json`] reads has this form. Numbers are whole, in any
    /// notation: `80`, `80.0`, `8e1`.
    pub fn schema() -> Value {
        let mut generator = SchemaSettings::draft2020_12().with_transform(plain_text).into_generator();
        let mut schema = generator.root_schema_for::<Self>();
        schema.insert("title".to_owned(), "Portolan plugin config".into());
        schema.insert("description".to_owned(), DESCRIPTION.into());
        schema.to_value()
    }
}

/// The forms of [`crate::config::Listing`].
#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "its schema alone is of use")]
pub(crate) enum Listing {
    Lines(Vec<String>),
    Compressed(#[schemars(regex(pattern = "^gzip:"))] String),
}

/// Descriptions come from the documentation of the types, whose links lead nowhere here.
fn plain_text(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace("[`", "`").replace("`]", "`").replace('\n', " ");
    }
    transform_subschemas(&mut plain_text, schema);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_names_every_part_of_a_config() {
        let schema = Config::schema();
        assert_eq!(schema["properties"]["version"]["const"], crate::config::VERSION);
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["required"], serde_json::json!(["version"]));
        assert!(schema["$defs"]["RouteMatch"]["properties"]["queryParameters"].is_object());
        assert!(!schema.to_string().contains("[`"), "links are text");
    }
}
