//! What a service said of each record. An answer that accepts all of them, which is nearly every one, is counted instead of
//! being taken apart: the SDK makes several strings of each record's part, a quarter of all the work of a flow of short lines.
//! Invariant: only an answer that names each record as accepted, and no error, is counted; the SDK reads every other.

use super::super::{
    errors::{self, Class, Failure},
    job::Reply,
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{BeforeSerializationInterceptorContextMut, Error, Output},
            dyn_dispatch_hint,
        },
        orchestrator::{HttpResponse, OrchestratorError},
        runtime_components::RuntimeComponents,
        runtime_plugin::RuntimePlugin,
        ser_de::{DeserializeResponse, SharedResponseDeserializer},
    },
};
use aws_smithy_types::config_bag::{ConfigBag, FrozenLayer};
use memchr::memmem;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What the service said.
#[derive(Debug)]
pub enum Answers {
    /// It accepted every record of the request.
    All,
    /// Record by record, in their order.
    Each(Vec<Answer>),
}

/// What the service said of one record.
#[derive(Debug)]
pub struct Answer {
    /// It has an id or a number of its own there.
    pub accepted: bool,
    pub code: Option<String>,
    pub message: Option<String>,
    /// Where it was stored, if the service says so.
    pub shard: Option<String>,
}

/// The outcome of each record, in the order of the request. With `exactly_once`, a code that nobody knows says nothing of
/// whether the record was stored.
pub(super) fn reply(answers: Answers, records: usize, exactly_once: bool) -> Reply {
    let answers = match answers {
        Answers::All => Vec::new(),
        Answers::Each(answers) if answers.len() == records => answers,
        Answers::Each(answers) => {
            let message = format!("{} results for {records} records", answers.len());
            return Reply::Failed(Failure::new(Class::Ambiguous, "UnreadableReply", message));
        }
    };
    let mut failed = Vec::new();
    for (position, answer) in (0..).zip(answers) {
        let failure = match answer.code {
            Some(code) => {
                let unknown = if exactly_once { Class::Ambiguous } else { Class::Hold };
                let class = errors::of_code(&code).unwrap_or(unknown);
                Failure::new(class, code, answer.message.unwrap_or_default())
            }
            None if answer.accepted => continue,
            None => Failure::new(Class::Ambiguous, "UnreadableReply", "neither a number nor an error"),
        };
        failed.push((position, failure));
    }
    Reply::Answered { failed }
}

/// Looks at the answer of one request before the SDK does.
#[derive(Clone)]
pub struct Counting {
    /// How the SDK reads the answers of this operation.
    operation: FrozenLayer,
    /// What each accepted record's part holds: a member's name with its colon and the quote that begins its value.
    mark: &'static [u8],
    records: usize,
    /// What the SDK is given in the place of an answer that accepts all records.
    nothing: fn() -> Output,
    all: Arc<AtomicBool>,
}

impl Counting {
    /// For one request of `operation` with this many records.
    pub fn new(operation: &impl RuntimePlugin, mark: &'static [u8], records: usize, nothing: fn() -> Output) -> Self {
        let operation = operation.config().expect("an operation says how its answers are read");
        Self { operation, mark, records, nothing, all: Arc::default() }
    }

    /// Whether the answer accepted every record. Known once the request came back.
    pub fn all_accepted(&self) -> bool {
        self.all.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Counting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Counting({} records)", self.records)
    }
}

/// Whether an answer accepts this many records and names no error. Inside a string no quote stands without a backslash, so
/// neither mark can be part of a value.
fn accepts(body: &[u8], mark: &[u8], records: usize) -> bool {
    body.trim_ascii_end().ends_with(b"}")
        && memmem::find(body, b"\"ErrorCode\":\"").is_none()
        && memmem::find_iter(body, mark).count() == records
}

#[dyn_dispatch_hint]
impl Intercept for Counting {
    fn name(&self) -> &'static str {
        "Counting"
    }

    fn modify_before_serialization(
        &self,
        _: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(SharedResponseDeserializer::new(self.clone()));
        Ok(())
    }
}

impl DeserializeResponse for Counting {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        config: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        let body = response.body().bytes().filter(|_| response.status().as_u16() == 200);
        if body.is_some_and(|body| accepts(body, self.mark, self.records)) {
            self.all.store(true, Ordering::Relaxed);
            return Ok((self.nothing)());
        }
        let read =
            self.operation.load::<SharedResponseDeserializer>().expect("an operation says how its answers are read");
        read.deserialize_nonstreaming_with_config(response, config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &[u8] = b"\"SequenceNumber\":\"";

    #[test]
    fn only_an_answer_that_accepts_every_record_is_counted() {
        let one = r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"a"}]}"#;
        assert!(accepts(one.as_bytes(), MARK, 1));
        assert!(!accepts(one.as_bytes(), MARK, 2));
        assert!(!accepts(&one.as_bytes()[..one.len() - 3], MARK, 1));
        let failed = r#"{"Records":[{"SequenceNumber":"1"},{"ErrorCode":"InternalFailure","ErrorMessage":"x"}]}"#;
        assert!(!accepts(failed.as_bytes(), MARK, 1));
        let in_a_value = r#"{"Records":[{"ShardId":"\"SequenceNumber\":\"1"}]}"#;
        assert!(!accepts(in_a_value.as_bytes(), MARK, 1));
    }

    #[test]
    fn a_code_that_nobody_knows_says_nothing_of_whether_the_record_is_stored() {
        for (exactly_once, class) in [(false, Class::Hold), (true, Class::Ambiguous)] {
            let answer = || {
                let code = Some("NewSinceThen".to_owned());
                Answer { accepted: false, code, message: None, shard: None }
            };
            let Reply::Answered { failed } = reply(Answers::Each(vec![answer()]), 1, exactly_once) else {
                panic!("an answer")
            };
            assert_eq!(failed[0].1.class, class);
        }
    }

    #[test]
    fn too_few_answers_and_empty_ones_are_ambiguous() {
        let Reply::Failed(failure) = reply(Answers::Each(Vec::new()), 1, false) else { panic!("no answer") };
        assert_eq!(failure.class, Class::Ambiguous);
        let empty = Answer { accepted: false, code: None, message: None, shard: None };
        let Reply::Answered { failed } = reply(Answers::Each(vec![empty]), 1, false) else { panic!("an answer") };
        assert_eq!(failed[0].1.class, Class::Ambiguous);
    }
}
