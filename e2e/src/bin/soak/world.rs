//! Envoy with the filter, and the changes of its plugin config.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::Portolan;
use portolan_e2e::mixed::{Addresses, Mixed};
use portolan_e2e::process::poll;
use portolan_e2e::raw::{self, Head};

/// How long a change may take until it is in force.
const IN_FORCE: Duration = Duration::from_secs(2);

const PLUGIN_CONFIG: &str = "envoy.d/ecds/portolan.json";

/// What the rewrite of `webserver` says, in turn.
pub(crate) const STATES: [&str; 2] = ["first", "second"];

/// What runs.
pub(crate) struct World {
    pub(crate) portolan: Portolan,
    pub(crate) addresses: Addresses,
    /// The plugin config for each of [`STATES`].
    plugin_configs: [String; 2],
    _upstreams: Mixed,
}

impl World {
    pub(crate) fn start(version: &str) -> Result<Self> {
        let upstreams = Mixed::start(true)?;
        let generate = |state: &str| -> Result<_> {
            let setup = upstreams.setup(version, state)?;
            let finished = setup.generate()?;
            ensure!(finished.success(), "config-gen generate failed: {finished}");
            let plugin_config = fs::read_to_string(setup.output().join(PLUGIN_CONFIG))?;
            Ok((setup, plugin_config))
        };
        let ((setup, first), (_, second)) = (generate(STATES[0])?, generate(STATES[1])?);
        let portolan = setup.start_as_generated()?;
        let addresses = Addresses::of(&portolan)?;
        Ok(Self { portolan, addresses, plugin_configs: [first, second], _upstreams: upstreams })
    }

    /// Brings one of [`STATES`] into force, and waits until requests show it.
    pub(crate) fn change(&self, state: usize) -> Result<()> {
        self.portolan.replace(PLUGIN_CONFIG, &self.plugin_configs[state])?;
        let path = format!("/{}", STATES[state]);
        let request =
            Head::new("GET", "/").header("host", "webserver").header("connection", "close").finish();
        poll(IN_FORCE, || {
            let response = raw::request(self.addresses.http, &request).ok()?;
            (response.text() == path).then_some(())
        })
        .with_context(|| format!("a change isn't in force after {IN_FORCE:?}"))
    }
}
