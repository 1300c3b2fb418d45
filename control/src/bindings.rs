//! The calls as JavaScript sees them. Arguments and answers cross as JSON, which engines read faster than
//! they build objects field by field.

use serde::de::DeserializeOwned;
use serde_json::Value;
use wasm_bindgen::prelude::*;

use crate::options::{Question, Settings, Text};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = include_str!("../types.d.ts");

/// What is wrong with the texts, or likely not what was meant.
#[wasm_bindgen(unchecked_return_type = "Validation")]
pub fn validate(
    #[wasm_bindgen(unchecked_param_type = "Text[]")] texts: &JsValue,
    #[wasm_bindgen(unchecked_optional_param_type = "ValidateOptions")] options: &JsValue,
) -> Result<JsValue, JsError> {
    answer(crate::validate(&list("texts", texts)?, &settings(options)?))
}

/// The files that the texts come to; none where they have errors.
#[wasm_bindgen(unchecked_return_type = "Generated")]
pub fn generate(
    #[wasm_bindgen(unchecked_param_type = "Text[]")] texts: &JsValue,
    #[wasm_bindgen(unchecked_optional_param_type = "GenerateOptions")] options: &JsValue,
) -> Result<JsValue, JsError> {
    answer(crate::generate(&list("texts", texts)?, &settings(options)?))
}

/// What becomes of each request, and why.
#[wasm_bindgen(unchecked_return_type = "Explained")]
pub fn explain(
    #[wasm_bindgen(unchecked_param_type = "Text[]")] texts: &JsValue,
    #[wasm_bindgen(unchecked_param_type = "Request[]")] requests: &JsValue,
    #[wasm_bindgen(unchecked_optional_param_type = "ExplainOptions")] options: &JsValue,
) -> Result<JsValue, JsError> {
    let questions: Vec<Question> = list("requests", requests)?;
    answer(crate::explain(&list::<Text>("texts", texts)?, questions, &settings(options)?))
}

/// Hosts, rules and destinations as a picture.
#[wasm_bindgen(unchecked_return_type = "Drawn")]
pub fn graph(
    #[wasm_bindgen(unchecked_param_type = "Text[]")] texts: &JsValue,
    #[wasm_bindgen(unchecked_optional_param_type = "GraphOptions")] options: &JsValue,
) -> Result<JsValue, JsError> {
    answer(crate::graph(&list("texts", texts)?, &settings(options)?))
}

/// What two sets of texts do otherwise; without a second one, the two profiles.
#[wasm_bindgen(unchecked_return_type = "Compared")]
pub fn diff(
    #[wasm_bindgen(unchecked_param_type = "Text[]")] before: &JsValue,
    #[wasm_bindgen(unchecked_param_type = "Text[] | null")] after: &JsValue,
    #[wasm_bindgen(unchecked_optional_param_type = "DiffOptions")] options: &JsValue,
) -> Result<JsValue, JsError> {
    let before: Vec<Text> = list("before", before)?;
    let two = !after.is_null() && !after.is_undefined();
    let after: Option<Vec<Text>> = two.then(|| list("after", after)).transpose()?;
    answer(crate::diff(&before, after.as_deref(), &settings(options)?))
}

/// What this is.
#[wasm_bindgen(unchecked_return_type = "Version")]
pub fn version() -> Result<JsValue, JsError> {
    answer(Ok(crate::version()))
}

/// A panic becomes an error with its message; else it would be a trap without one.
#[wasm_bindgen(start, private)]
fn start() {
    std::panic::set_hook(Box::new(|panic| wasm_bindgen::throw_str(&format!("portolan: {panic}"))));
}

fn list<T: DeserializeOwned>(name: &str, value: &JsValue) -> Result<Vec<T>, JsError> {
    serde_json::from_str(&json(value)?).map_err(|error| JsError::new(&format!("{name}: {error}")))
}

fn settings(value: &JsValue) -> Result<Settings, JsError> {
    Settings::from_json(&json(value)?).map_err(|message| JsError::new(&message))
}

fn json(value: &JsValue) -> Result<String, JsError> {
    if value.is_undefined() {
        return Ok("null".to_owned());
    }
    let text = js_sys::JSON::stringify(value).ok().and_then(|text| text.as_string());
    let text = text.ok_or_else(|| JsError::new("an argument can't be written as JSON"))?;
    Ok(crate::options::without_lone_surrogates(text))
}

fn answer(answer: Result<Value, String>) -> Result<JsValue, JsError> {
    let answer = answer.map_err(|message| JsError::new(&message))?;
    js_sys::JSON::parse(&answer.to_string()).map_err(|_| JsError::new("the answer is no JSON"))
}
