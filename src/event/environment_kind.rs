//! What an environment is for.

use std::fmt;
use std::str::FromStr;

use super::Environment;

/// What an environment is for. It decides how little may be assumed: `production` assumes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvironmentKind {
    /// Real people are in it. It uses the public directory, and its PDSes tell relays of themselves.
    Production,
    /// Everything else: what is made in it must be seen by nobody outside.
    Development,
}

impl EnvironmentKind {
    /// What an environment is when nobody says: one that is called `production` or `prod` is that, all others are not.
    pub fn of(environment: &Environment) -> Self {
        match environment.as_str() {
            "production" | "prod" => EnvironmentKind::Production,
            _ => EnvironmentKind::Development,
        }
    }

    /// The word in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            EnvironmentKind::Production => "production",
            EnvironmentKind::Development => "development",
        }
    }
}

impl fmt::Display for EnvironmentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EnvironmentKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "production" => Ok(EnvironmentKind::Production),
            "development" => Ok(EnvironmentKind::Development),
            _ => Err("it is neither `production` nor `development`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_called_so_is_production() {
        for (name, kind) in [
            ("production", EnvironmentKind::Production),
            ("prod", EnvironmentKind::Production),
            ("pre-production", EnvironmentKind::Development),
            ("prod2", EnvironmentKind::Development),
            ("staging", EnvironmentKind::Development),
            ("local", EnvironmentKind::Development),
        ] {
            assert_eq!(EnvironmentKind::of(&Environment::parse(name).unwrap()), kind, "{name}");
        }
        for kind in [EnvironmentKind::Production, EnvironmentKind::Development] {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert!("prod".parse::<EnvironmentKind>().is_err());
    }
}
