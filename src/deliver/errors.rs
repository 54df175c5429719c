//! What each answer of the destination means, as one table. Knows no transport and does nothing about it.
//! Invariant: an answer nobody has heard of is never a reason to drop data.

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// May have been delivered nevertheless: sent again, perhaps a duplicate.
    Ambiguous,
    /// Certainly not delivered, nobody's fault: sent again.
    Again,
    /// Certainly not delivered, too much at once: sent again, fewer at a time.
    Throttled,
    /// The credentials or the clock are wrong: kept, looked for anew, tried slowly.
    Credentials,
    /// Configuration or permission: kept, shown, tried slowly.
    Hold,
    /// The data is not acceptable: narrowed down to the record, which goes to the dead letters.
    Reject,
}

/// Why a request, or one record of it, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub class: Class,
    /// The service's name for it, or ours where no service answered.
    pub code: String,
    /// The service's words, without secrets.
    pub message: String,
    /// What the operator can do, where we know.
    pub remedy: Option<String>,
}

impl Failure {
    /// A failure without a known remedy.
    #[must_use]
    pub fn new(class: Class, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class, code: code.into(), message: message.into(), remedy: None }
    }
}

impl Failure {
    /// Whether the service says that a permission is missing, for the stream or for the key it is encrypted with.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.code.as_str(), "AccessDeniedException" | "AccessDenied" | "KMSAccessDeniedException")
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// Code names of whole requests and of single records.
const TABLE: &[(Class, &[&str])] = &[
    (
        Class::Throttled,
        &[
            "ProvisionedThroughputExceededException",
            "ThrottlingException",
            "Throttling",
            "TooManyRequestsException",
            "RequestLimitExceeded",
            "LimitExceededException",
            "KMSThrottlingException",
            "ServiceUnavailableException",
            "ServiceUnavailable",
        ],
    ),
    (
        Class::Ambiguous,
        &[
            "InternalFailure",
            "InternalFailureException",
            "InternalServerError",
            "InternalServiceError",
            "InternalError",
        ],
    ),
    (
        Class::Credentials,
        &[
            "ExpiredTokenException",
            "ExpiredToken",
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "RequestExpired",
            "RequestTimeTooSkewed",
            "SignatureDoesNotMatch",
            "InvalidSignatureException",
            "IncompleteSignature",
            "IncompleteSignatureException",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
        ],
    ),
    (
        Class::Hold,
        &[
            "ResourceNotFoundException",
            "ResourceInUseException",
            "AccessDeniedException",
            "AccessDenied",
            "NotAuthorized",
            "OptInRequired",
            "KMSDisabledException",
            "KMSInvalidStateException",
            "KMSAccessDeniedException",
            "KMSNotFoundException",
            "KMSOptInRequired",
            "InvalidKMSResource",
            "InvalidKMSResourceException",
            "InvalidSource",
            "InvalidSourceException",
            "UnknownOperationException",
        ],
    ),
    (
        Class::Reject,
        &[
            "InvalidArgumentException",
            "SerializationException",
            "ValidationException",
            "ValidationError",
            "RequestEntityTooLargeException",
        ],
    ),
];

/// The class of a code name, if the table has it.
#[must_use]
pub fn of_code(code: &str) -> Option<Class> {
    TABLE.iter().find(|(_, codes)| codes.contains(&code)).map(|(class, _)| *class)
}

/// The class of a whole request's failure, from its code, else from its HTTP status.
#[must_use]
pub fn of_request(code: Option<&str>, message: &str, status: u16) -> Class {
    let class = code.and_then(of_code).unwrap_or_else(|| of_status(status));
    // A stream's name that does not fit is the configuration's fault, not the records'.
    if class == Class::Reject
        && ["streamName", "StreamName", "streamARN", "StreamARN"].iter().any(|w| message.contains(w))
    {
        return Class::Hold;
    }
    class
}

fn of_status(status: u16) -> Class {
    match status {
        413 => Class::Reject,
        429 | 503 => Class::Throttled,
        // An unreadable success is no success we can rely on.
        200..=299 | 500..=599 => Class::Ambiguous,
        _ => Class::Hold,
    }
}

/// The first line of what a service says, of bounded length and without the request it may quote (which holds a token).
#[must_use]
pub fn tidy(message: &str) -> String {
    const LONGEST: usize = 400;
    let line = message.lines().next().unwrap_or_default();
    let line = line.split("Authorization=").next().unwrap_or_default().trim();
    if line.len() <= LONGEST {
        return line.to_owned();
    }
    let end = line.floor_char_boundary(LONGEST);
    format!("{}...", &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_code_has_its_class() {
        let documented = [
            (
                Class::Throttled,
                "ProvisionedThroughputExceededException ThrottlingException LimitExceededException \
                 KMSThrottlingException ServiceUnavailableException",
            ),
            (Class::Ambiguous, "InternalFailure"),
            (
                Class::Credentials,
                "ExpiredTokenException UnrecognizedClientException RequestExpired SignatureDoesNotMatch IncompleteSignature",
            ),
            (
                Class::Hold,
                "ResourceNotFoundException AccessDeniedException KMSDisabledException KMSInvalidStateException \
                 KMSAccessDeniedException KMSNotFoundException KMSOptInRequired InvalidKMSResource InvalidKMSResourceException \
                 InvalidSource InvalidSourceException",
            ),
            (Class::Reject, "InvalidArgumentException SerializationException ValidationException"),
        ];
        for (class, codes) in documented {
            for code in codes.split_whitespace() {
                assert_eq!(of_request(Some(code), "", 400), class, "{code}");
                assert_eq!(of_code(code), Some(class), "{code}");
            }
        }
    }

    #[test]
    fn no_code_is_in_the_table_twice() {
        let mut codes: Vec<_> = TABLE.iter().flat_map(|(_, codes)| *codes).collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }

    #[test]
    fn the_status_decides_where_the_code_is_unknown() {
        for (status, class) in [
            (413, Class::Reject),
            (503, Class::Throttled),
            (429, Class::Throttled),
            (500, Class::Ambiguous),
            (502, Class::Ambiguous),
            (504, Class::Ambiguous),
            (200, Class::Ambiguous),
            (400, Class::Hold),
            (403, Class::Hold),
            (407, Class::Hold),
            (302, Class::Hold),
        ] {
            assert_eq!(of_request(None, "", status), class, "{status}");
            assert_eq!(of_request(Some("NewSinceThen"), "", status), class, "{status}");
        }
        assert_eq!(of_code("NewSinceThen"), None);
    }

    #[test]
    fn a_bad_stream_name_does_not_condemn_the_records() {
        let message = "1 validation error detected: Value 'a b' at 'streamName' failed to satisfy constraint";
        assert_eq!(of_request(Some("ValidationException"), message, 400), Class::Hold);
    }

    #[test]
    fn a_quoted_request_is_cut_off() {
        assert_eq!(tidy("does not match.\n\nx-amz-security-token:secret"), "does not match.");
        assert_eq!(tidy("Needs a date. Authorization=AWS4-HMAC-SHA256 secret"), "Needs a date.");
        assert!(tidy(&"é".repeat(1000)).len() < 410);
    }
}
