//! Hosts that belong to another environment of ours are refused before anything is asked of them.

use super::layers::ConfigError;
use super::settings::Settings;

impl Settings {
    /// Refuses the settings when a relay, a PDS or the directory that they name is declared for another environment.
    ///
    /// # Errors
    /// [`ConfigError::Elsewhere`], with the first of them.
    pub fn check_upstreams(&self) -> Result<(), ConfigError> {
        for relay in &self.relays {
            self.check_host("source.relays", &relay.name())?;
        }
        for pds in &self.pdses {
            self.check_host("source.pdses", &pds.name())?;
        }
        self.check_host("network.plc", self.network.plc.as_str())
    }

    /// Refuses one host, `host`, `host:port` or an URL, that `setting` names, when it is declared for another environment.
    ///
    /// # Errors
    /// [`ConfigError::Elsewhere`].
    pub fn check_host(&self, setting: &'static str, host: &str) -> Result<(), ConfigError> {
        match self.places.host(host) {
            Some(declared) if *declared != self.environment => Err(ConfigError::Elsewhere {
                setting,
                what: host.to_owned(),
                declared: declared.clone(),
                environment: self.environment.clone(),
            }),
            _ => Ok(()),
        }
    }
}
