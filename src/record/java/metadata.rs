//! `ADDMETADATA` and `ADDEC2METADATA`: what is known beside the record joins it. Knows no clock and no network.

use std::{io::Write as _, sync::Arc, time::Duration};

use jiff::{Timestamp, tz::TimeZone};

use super::{
    Verdict,
    json::{self, Member, Node, Value},
    object::Layout,
    text,
};
use crate::record::{ec2::Instance, pipeline::Context};

/// `ADDMETADATA` and its settings.
#[derive(Clone, Debug)]
pub struct Metadata {
    timestamp: bool,
    /// What stands before and behind the time, where there is one.
    before_time: &'static [u8],
    behind_time: &'static [u8],
    /// The member `metadata` and the name of the one behind it.
    constant: Vec<u8>,
    close: &'static [u8],
}

impl Metadata {
    /// `metadata` is copied as it is; with `timestamp` the time stands before it.
    #[must_use]
    pub fn new(metadata: Value, timestamp: bool, layout: Layout) -> Self {
        let member =
            Member { at: 0, name: "metadata".to_owned(), node: Node { at: 0, value: metadata }, repeated: false };
        let object = Value::Map(vec![member]);
        let mut constant = Vec::new();
        let (before_time, behind_time, data, close): (&[u8], &[u8], &[u8], &'static [u8]) = match layout {
            Layout::Compact => {
                object.push_compact(&mut constant);
                constant.truncate(constant.len() - b"}".len());
                (b"\"ts\":\"", b"\",", b",\"data\":", b"}\n")
            }
            Layout::Pretty => {
                object.push_pretty(&mut constant);
                constant.truncate(constant.len() - b"\n}".len());
                (b"\n  \"ts\" : \"", b"\",", b",\n  \"data\" : ", b"\n}\n")
            }
        };
        constant.remove(0);
        constant.extend_from_slice(data);
        Self { timestamp, before_time, behind_time, constant, close }
    }

    pub(super) fn convert(&self, context: &Context<'_>, text: &str, out: &mut Vec<u8>) {
        out.push(b'{');
        if self.timestamp {
            out.extend_from_slice(self.before_time);
            push_time(context.now.wall, &TimeZone::UTC, "%Y-%m-%dT%H:%M:%S%.3fZ", out);
            out.extend_from_slice(self.behind_time);
        }
        out.extend_from_slice(&self.constant);
        json::push_string(text::without_newline(text).as_bytes(), out);
        out.extend_from_slice(self.close);
    }
}

/// `ADDEC2METADATA` and its settings.
#[derive(Clone, Debug)]
pub struct InstanceMetadata {
    layout: Layout,
    max_age: Option<Duration>,
    /// The last snapshot, and what is added because of it.
    known: Option<(Arc<Instance>, Added)>,
}

/// Members of an object, in order.
type Added = Vec<(&'static str, Value)>;

impl InstanceMetadata {
    /// `max_age`: how old what is known of the instance may be, where the configuration says so.
    #[must_use]
    pub fn new(layout: Layout, max_age: Option<Duration>) -> Self {
        Self { layout, max_age, known: None }
    }

    pub(super) fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    pub(super) fn convert(
        &mut self,
        context: &Context<'_>,
        input: &[u8],
        out: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
    ) -> Verdict {
        let Some(instance) = context.ec2.get() else {
            out.extend_from_slice(input);
            return Verdict::Converted;
        };
        let text = text::decode(input, scratch);
        let Ok((Node { value: Value::Map(mut members), .. }, _)) = json::parse(text, json::Extras::default()) else {
            return Verdict::Failed;
        };
        if self.known.as_ref().is_none_or(|(known, _)| !Arc::ptr_eq(known, &instance)) {
            let added = added(&instance);
            self.known = Some((instance, added));
        }
        for (name, value) in self.known.iter().flat_map(|(_, added)| added) {
            Value::set(&mut members, name, value.clone());
        }
        let object = Value::Map(members);
        match self.layout {
            Layout::Compact => object.push_compact(out),
            Layout::Pretty => object.push_pretty(out),
        }
        out.push(b'\n');
        Verdict::Converted
    }
}

/// The members that an instance adds, in order. What is not known is `null`, but tags that are not known are left out.
fn added(instance: &Instance) -> Added {
    let mut time = Vec::new();
    push_time(instance.read_at, &TimeZone::system(), "%Y-%m-%dT%H:%M:%S%z", &mut time);
    let time = String::from_utf8(time).ok();
    let texts = [
        ("privateIp", &instance.private_ip),
        ("availabilityZone", &instance.availability_zone),
        ("instanceId", &instance.instance_id),
        ("instanceType", &instance.instance_type),
        ("accountId", &instance.account_id),
        ("amiId", &instance.image_id),
        ("region", &instance.region),
        ("metadataTimestamp", &time),
    ];
    let value = |text: &Option<String>| text.clone().map_or(Value::Null, Value::Text);
    let mut added: Vec<_> = texts.iter().map(|(name, text)| (*name, value(text))).collect();
    if let Some(tags) = &instance.tags {
        let mut members = Vec::new();
        for (name, text) in tags {
            Value::set(&mut members, &name.to_lowercase(), Value::Text(text.clone()));
        }
        added.push(("tags", Value::Map(members)));
    }
    added
}

/// Appends a time given in nanoseconds since 1970; one that no calendar holds becomes 1970.
fn push_time(nanoseconds: i64, zone: &TimeZone, format: &str, out: &mut Vec<u8>) {
    let time = Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default();
    write!(out, "{}", time.to_zoned(zone.clone()).strftime(format)).expect("a Vec takes every write");
}
