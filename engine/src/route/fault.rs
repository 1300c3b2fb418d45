//! Faults on purpose (spec section 4.8).

use crate::config::{self, ConfigError};
use crate::headers;

/// The checked form of a [`config::Fault`].
#[derive(Debug)]
pub(crate) struct Fault {
    delay: Option<(String, u32)>,
    abort: Option<(Abort, u32)>,
}

/// How a request is ended.
#[derive(Debug)]
pub(crate) struct Abort {
    pub(crate) status: u16,
    pub(crate) grpc_status: Option<u8>,
    /// The header with its value that has Envoy's fault filter do it.
    pub(crate) header: (&'static str, String),
}

/// What a request drew.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Drawn<'t> {
    /// Milliseconds.
    pub(crate) delay: Option<&'t str>,
    pub(crate) abort: Option<&'t Abort>,
}

const MILLION: u32 = 1_000_000;

impl Fault {
    pub(crate) fn new(fault: config::Fault, path: &str) -> Result<Self, ConfigError> {
        let share = |per_million: u32, field: &str| {
            if per_million > MILLION {
                let path = format!("{path}.{field}.perMillion");
                return Err(ConfigError::new(path, "must be at most 1000000"));
            }
            Ok(per_million)
        };
        let delay = match fault.delay {
            None => None,
            Some(delay) => Some((delay.ms.to_string(), share(delay.per_million, "delay")?)),
        };
        let abort = match fault.abort {
            None => None,
            Some(config::AbortFault { status, grpc_status, per_million }) => {
                // Envoy's own limits.
                if !(200..=599).contains(&status) || grpc_status.is_some_and(|status| status > 16) {
                    return Err(ConfigError::new(format!("{path}.abort"), "is no status that can be sent"));
                }
                let header = match grpc_status {
                    Some(grpc) => ("x-envoy-fault-abort-grpc-request", grpc.to_string()),
                    None => (headers::FAULT_ABORT, status.to_string()),
                };
                Some((Abort { status, grpc_status, header }, share(per_million, "abort")?))
            }
        };
        Ok(Self { delay, abort })
    }

    /// Draws both, each by itself (VS-FAULT-06).
    pub(crate) fn draw(&self, random: u64) -> Drawn<'_> {
        let hit = |share: u32, salt: u64| mixed(random ^ salt) % u64::from(MILLION) < u64::from(share);
        Drawn {
            delay: self
                .delay
                .as_ref()
                .filter(|(_, share)| hit(*share, 0x6a09_e667_f3bc_c908))
                .map(|(delay, _)| delay.as_str()),
            abort: self
                .abort
                .as_ref()
                .filter(|(_, share)| hit(*share, 0xbb67_ae85_84ca_a73b))
                .map(|(abort, _)| abort),
        }
    }
}

/// Another number for each number (SplitMix64's last step), so that several draws from one
/// random number have nothing to do with each other.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
