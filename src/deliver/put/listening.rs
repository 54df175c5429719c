//! What time it is for the service, by the `Date` of its answers. Knows no particular service.

use std::time::Instant;

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeDeserializationInterceptorContextRef, dyn_dispatch_hint},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{DateTime, config_bag::ConfigBag, date_time::Format};

use crate::deliver::ServiceClock;

/// Tells a clock the time that each answer was made at.
#[derive(Debug)]
pub(in crate::deliver) struct Listening(pub(in crate::deliver) ServiceClock);

#[dyn_dispatch_hint]
impl Intercept for Listening {
    fn name(&self) -> &'static str {
        "Listening"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let time = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        if let Some(nanos) = time.and_then(|time| i64::try_from(time.as_nanos()).ok()) {
            self.0.learn(nanos, Instant::now());
        }
        Ok(())
    }
}
