//! Why a request is refused: numbered, with an HTTP status, as `application/problem+json` (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::protocol::Problem;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $status:literal, $text:literal;)+) => {
        /// Kinds of refusal. Numbers and names stay as they are for ever.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Reason { $($(#[doc = $doc])+ $name = $number,)+ }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// HTTP status.
            pub const fn status(self) -> u16 { match self { $(Self::$name => $status,)+ } }

            /// As in URNs, logs and metrics.
            pub const fn name(self) -> &'static str { match self { $(Self::$name => $text,)+ } }

            /// What it means.
            pub const fn title(self) -> &'static str { match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ } }
        }
    };
}

reasons! {
    /// the request is not what the interface describes
    Malformed = 1, 400, "malformed";
    /// the device key is not an RSA key of a size and form that devices have
    DeviceKey = 2, 400, "device-key";
    /// the client certificate gives no role
    Unauthenticated = 3, 401, "unauthenticated";
    /// the role may not do this
    Role = 4, 403, "role";
    /// the client certificate is revoked
    ClientRevoked = 5, 403, "client-revoked";
    /// the device is not in the registry
    DeviceUnknown = 6, 403, "device-unknown";
    /// the device may have no key in its state
    DeviceState = 7, 403, "device-state";
    /// the token answers no challenge of this service that is still good
    Challenge = 8, 403, "challenge";
    /// the token is not to be believed
    Evidence = 9, 403, "evidence";
    /// the policy of the key denies it
    Policy = 10, 403, "policy";
    /// there is nothing of this name
    NotFound = 11, 404, "not-found";
    /// the method is not one of this path
    Method = 12, 405, "method";
    /// the request took too long
    Timeout = 13, 408, "timeout";
    /// the challenge was used for another release
    ChallengeUsed = 14, 409, "challenge-used";
    /// the change does not fit what is there
    Conflict = 15, 409, "conflict";
    /// somebody else must approve it
    SecondPerson = 16, 409, "second-person";
    /// the key is destroyed
    Destroyed = 17, 410, "destroyed";
    /// the body is too large
    TooLarge = 18, 413, "too-large";
    /// the quota of the device for this key is used up
    Quota = 19, 429, "quota";
    /// too many requests
    RateLimit = 20, 429, "rate-limit";
    /// something is wrong with the service itself
    Internal = 21, 500, "internal";
    /// the database does not answer or takes nothing
    Database = 22, 503, "database";
    /// the keys cannot be used now
    Vault = 23, 503, "vault";
    /// the clock of this host is behind the audit log
    Clock = 24, 503, "clock";
    /// the hardware module cannot do this
    Mechanism = 25, 501, "mechanism";
}

/// A refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Of which kind.
    pub reason: Reason,
    /// Of what.
    pub detail: String,
    /// The rule that denied.
    pub rule: Option<String>,
    /// Seconds until it may go better.
    pub retry_after: Option<u64>,
    /// Whether the audit log has it.
    pub recorded: bool,
    /// What was asked for, for the audit log.
    pub object: Option<String>,
}

/// What a handler returns.
pub type Answer<T> = Result<T, Refusal>;

impl Refusal {
    /// A refusal with its detail.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let retry_after = match reason {
            Reason::Database | Reason::Vault | Reason::Clock => Some(5),
            _ => None,
        };
        Self { reason, detail: detail.into(), rule: None, retry_after, recorded: false, object: None }
    }

    /// Names the rule.
    pub fn by_rule(mut self, rule: &str) -> Self {
        self.rule = Some(rule.to_owned());
        self
    }

    /// Says when to come again.
    pub fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Names what was asked for.
    pub fn about(mut self, object: &str) -> Self {
        self.object = Some(object.to_owned());
        self
    }

    /// As it is sent.
    pub fn problem(&self) -> Problem {
        Problem {
            kind: format!("urn:trustbox:problem:{}", self.reason.name()),
            number: self.reason as u32,
            title: self.reason.title().to_owned(),
            status: self.reason.status(),
            detail: self.detail.clone(),
            rule: self.rule.clone(),
            help: help(self.reason).map(str::to_owned),
        }
    }
}

fn help(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::Unauthenticated | Reason::Role => {
            "the certificate's OU names the role: admin, auditor, factory, build-agent or device"
        }
        Reason::DeviceUnknown => "enrol it: PUT /v1/devices/ID",
        Reason::Challenge => "ask for a new one: POST /v1/challenges, then trustbox attest --nonce NONCE",
        Reason::Policy => "POST /v1/explain shows every rule",
        Reason::SecondPerson => "repeat it with the certificate of another admin",
        Reason::Mechanism => "another module, or a key that was made exportable for tests",
        _ => return None,
    })
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.problem())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        // The database's words stay in the log: they may quote what was written.
        tracing::error!(error = %error, "database");
        Self::new(Reason::Database, "the database does not answer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_frozen() {
        let all: Vec<_> = Reason::ALL
            .iter()
            .map(|reason| format!("{} {} {}", *reason as u32, reason.status(), reason.name()))
            .collect();
        let golden = "1 400 malformed|2 400 device-key|3 401 unauthenticated|4 403 role|5 403 client-revoked|\
            6 403 device-unknown|7 403 device-state|8 403 challenge|9 403 evidence|10 403 policy|11 404 not-found|12 405 method|\
            13 408 timeout|14 409 challenge-used|15 409 conflict|16 409 second-person|17 410 destroyed|18 413 too-large|\
            19 429 quota|20 429 rate-limit|21 500 internal|22 503 database|23 503 vault|24 503 clock|25 501 mechanism";
        assert_eq!(all.join("|"), golden);
    }
}
