//! Fields of WasmPlugin (spec section 7). Nothing is made of them: they are checked as a cluster would
//! (VAL-CRD-24), since a plugin that guards requests belongs to what the input says.

use super::{Choice, INT32, LABELS, Object, PORT_NUMBER, STRING, Ty, choice, field, list, object, text};

pub(super) const SPEC: Object = object(&[
    field("selector", Ty::Object(&SELECTOR)).rule("VAL-CRD-24"),
    field("targetRef", Ty::Object(&TARGET)).rule("VAL-CRD-24"),
    field("targetRefs", Ty::List { item: &Ty::Object(&TARGET), min: 0, max: 16 }).rule("VAL-CRD-24"),
    field("url", STRING).required().rule("VAL-CRD-24"),
    field("sha256", STRING).rule("VAL-CRD-24"),
    field("imagePullPolicy", Ty::Enum(PULL_POLICIES)).rule("WP-05"),
    field("imagePullSecret", text(253)).rule("VAL-CRD-24"),
    field("verificationKey", STRING).rule("WP-18"),
    field("pluginConfig", Ty::Any).rule("WP-07"),
    field("pluginName", text(256)).rule("VAL-CRD-24"),
    field("phase", Ty::Enum(PHASES)).rule("WP-09"),
    field("priority", INT32).rule("WP-10"),
    field("failStrategy", Ty::Enum(STRATEGIES)).rule("WP-11"),
    field("vmConfig", Ty::Object(&VM)).rule("VAL-CRD-24"),
    field("match", list(&Ty::Object(&MATCH))).rule("VAL-CRD-24"),
    field("type", Ty::Enum(TYPES)).rule("WP-17"),
])
.exclusive("VAL-CRD-24", &[&["selector", "targetRef", "targetRefs"]]);

const SELECTOR: Object = object(&[field("matchLabels", LABELS)]);

/// Another namespace isn't allowed, so there is no field for it.
const TARGET: Object = object(&[
    field("group", text(253)),
    field("kind", text(63)).required(),
    field("name", text(253)).required(),
]);

const VM: Object = object(&[field("env", Ty::List { item: &Ty::Object(&VARIABLE), min: 0, max: 256 })]);

const VARIABLE: Object = object(&[
    field("name", text(256)).required(),
    field("valueFrom", Ty::Enum(&[choice("INLINE"), choice("HOST")])),
    field("value", text(2048)),
]);

const MATCH: Object = object(&[field("mode", Ty::Enum(MODES)), field("ports", list(&Ty::Object(&PORT)))]);

const PORT: Object = object(&[field("number", PORT_NUMBER).required()]);

const PULL_POLICIES: &[Choice] = &[choice("UNSPECIFIED_POLICY"), choice("IfNotPresent"), choice("Always")];

const PHASES: &[Choice] = &[choice("UNSPECIFIED_PHASE"), choice("AUTHN"), choice("AUTHZ"), choice("STATS")];

const STRATEGIES: &[Choice] = &[choice("FAIL_CLOSE"), choice("FAIL_OPEN"), choice("FAIL_RELOAD")];

const MODES: &[Choice] =
    &[choice("UNDEFINED"), choice("CLIENT"), choice("SERVER"), choice("CLIENT_AND_SERVER")];

const TYPES: &[Choice] = &[choice("UNSPECIFIED_PLUGIN_TYPE"), choice("HTTP"), choice("NETWORK")];
