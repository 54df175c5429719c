//! `aws:` and `destination:` to `deliver` options. Invariant: no message and no warning holds a secret.

use super::{
    keys,
    read::{Map, Reader, Value, choose, join},
    value,
};
use crate::{
    aws::{Aws, StaticKeys},
    deliver::{Destination, Kinesis, PartitionKey},
};

/// Reads the top-level `aws:`.
pub(super) fn aws(r: &mut Reader<'_>, value: &Value<'_>) -> Aws {
    let map = r.map(value, &keys::AWS);
    map.map(|map| aws_keys(r, &map)).unwrap_or_default()
}

/// Reads the AWS keys of `aws:` or of a destination.
fn aws_keys(r: &mut Reader<'_>, map: &Map<'_>) -> Aws {
    Aws {
        region: r.key(map, "region", region),
        endpoint_url: r.key(map, "endpoint_url", endpoint_url),
        role_arn: r.key(map, "role_arn", role_arn),
        external_id: r.key(map, "external_id", word),
        profile: r.key(map, "profile", word),
        ca_bundle: r.key(map, "ca_bundle", value::absolute_path),
        static_keys: static_keys(r, map),
    }
}

fn static_keys(r: &mut Reader<'_>, map: &Map<'_>) -> Option<StaticKeys> {
    const NAMES: [&str; 3] = ["access_key_id", "secret_access_key", "session_token"];
    let written = map.present(&NAMES);
    if written.is_empty() {
        return None;
    }
    for needed in &NAMES[..2] {
        if !written.contains(needed) {
            let other = if *needed == NAMES[0] { NAMES[1] } else { NAMES[0] };
            let text = format!("is missing; static keys need both `{needed}` and `{other}`");
            r.problem_at(map.at, &join(&map.key, needed), text);
        }
    }
    let [access_key_id, secret_access_key, session_token] =
        NAMES.map(|name| r.secret(&map.get(name)?, "leave it to the SDK's chain, or write `${NAME}`"));
    Some(StaticKeys { access_key_id: access_key_id?, secret_access_key: secret_access_key?, session_token })
}

/// `own` where it says something, else `defaults`.
fn overlay(own: Aws, defaults: &Aws) -> Aws {
    Aws {
        region: own.region.or_else(|| defaults.region.clone()),
        endpoint_url: own.endpoint_url.or_else(|| defaults.endpoint_url.clone()),
        role_arn: own.role_arn.or_else(|| defaults.role_arn.clone()),
        external_id: own.external_id.or_else(|| defaults.external_id.clone()),
        profile: own.profile.or_else(|| defaults.profile.clone()),
        ca_bundle: own.ca_bundle.or_else(|| defaults.ca_bundle.clone()),
        static_keys: own.static_keys.or_else(|| defaults.static_keys.clone()),
    }
}

/// Reads `destination:`.
pub(super) fn destination(r: &mut Reader<'_>, value: &Value<'_>, defaults: &Aws) -> Option<Destination> {
    let map = r.map(value, &keys::DESTINATION)?;
    let written = map.present(keys::DESTINATION.keys);
    let kinesis = map.get("kinesis").map(|value| kinesis(r, &value, defaults));
    let stdout = map.get("stdout").map(|value| r.map(&value, &keys::STDOUT).map(|_| Destination::Stdout));
    if let Some(firehose) = map.get("firehose") {
        r.problem(&firehose, "`firehose` is not available in this version; write `kinesis` or `stdout`");
    }
    match written.len() {
        // An unknown key alone was reported already.
        0 if !map.is_empty() => None,
        0 => {
            r.problem(value, "names no destination; write `kinesis: { stream: NAME }` or `stdout: {}`");
            None
        }
        1 => kinesis.or(stdout)?,
        _ => {
            r.problem(value, format!("names several destinations ({}); a flow has one", written.join(", ")));
            None
        }
    }
}

fn kinesis(r: &mut Reader<'_>, value: &Value<'_>, defaults: &Aws) -> Option<Destination> {
    let map = r.map(value, &keys::KINESIS)?;
    let stream = r.required(&map, "stream", "write the stream's name or ARN");
    let stream = stream.and_then(|value| r.value(&value, stream_name));
    let aws = overlay(aws_keys(r, &map), defaults);
    if let (Some(external_id), None) = (map.get("external_id"), &aws.role_arn) {
        r.warning(&external_id, "has no effect without a `role_arn`");
    }
    let partition_key = map.get("partition_key").and_then(|value| partition_key(r, &value));
    r.key(&map, "aggregate", |text| {
        let not_yet = || "is not available in this version; write false, or remove the key".to_owned();
        if value::boolean(text)? { Err(not_yet()) } else { Ok(()) }
    });
    let max_in_flight = r.key(&map, "max_in_flight", |text| value::integer(text, &(1..=64))).unwrap_or(8);
    let partition_key = partition_key.unwrap_or(PartitionKey::Random);
    Some(Destination::Kinesis(Box::new(Kinesis { stream: stream?, aws, partition_key, max_in_flight })))
}

fn partition_key(r: &mut Reader<'_>, value: &Value<'_>) -> Option<PartitionKey> {
    const NOT_YET: &str = "is not available in this version; write random, or remove the key";
    if !value.is_scalar() {
        r.problem(value, format!("a key from a field {NOT_YET}"));
        return None;
    }
    r.value(value, |text| choose(text, &[("random", PartitionKey::Random)]).map_err(|_| NOT_YET.to_owned()))
}

/// A name, or an ARN.
fn stream_name(text: &str) -> Result<String, String> {
    let name = match text.strip_prefix("arn:") {
        None => text,
        Some(arn) => {
            let wrong = "is not the ARN of a stream; it must look like arn:aws:kinesis:REGION:ACCOUNT:stream/NAME";
            let parts: Vec<&str> = arn.splitn(5, ':').collect();
            let &[partition, "kinesis", region_name, account, resource] = parts.as_slice() else {
                return Err(wrong.to_owned());
            };
            let partition_ok = partition.starts_with("aws") && partition.bytes().all(is_lower_or_dash);
            if !partition_ok || region(region_name).is_err() || !is_account(account) {
                return Err(wrong.to_owned());
            }
            resource.strip_prefix("stream/").ok_or(wrong)?
        }
    };
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if (1..=128).contains(&name.len()) && name.bytes().all(known) {
        return Ok(text.to_owned());
    }
    Err("is no name of a stream; it has 1 to 128 letters, digits, `_`, `.` or `-`".to_owned())
}

fn is_lower_or_dash(b: u8) -> bool {
    b.is_ascii_lowercase() || b == b'-'
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

fn region(text: &str) -> Result<String, String> {
    let known = |b: u8| is_lower_or_dash(b) || b.is_ascii_digit();
    if (1..=64).contains(&text.len()) && text.bytes().all(known) {
        return Ok(text.to_owned());
    }
    Err("is no region; it looks like eu-west-1".to_owned())
}

fn role_arn(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", _, "iam", "", account, role]
            if is_account(account)
                && role.len() > 5
                && role.starts_with("role/")
                && !role.contains(char::is_whitespace) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("is not the ARN of a role; it must look like arn:aws:iam::111122223333:role/NAME".to_owned()),
    }
}

/// Something without blanks at its ends.
fn word(text: &str) -> Result<String, String> {
    if text.is_empty() || text.trim() != text || text.contains(char::is_control) {
        return Err("is empty, begins or ends with a blank, or holds a control character; write it without".to_owned());
    }
    Ok(text.to_owned())
}

fn endpoint_url(text: &str) -> Result<String, String> {
    let wrong = || "is not an endpoint; it must look like https://HOST or http://HOST:PORT".to_owned();
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(wrong)?;
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '@')) {
        return Err(wrong());
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6.split_once(']').ok_or_else(wrong)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            (host, after.strip_prefix(':').or(after.is_empty().then_some("1")))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("1")),
        },
    };
    let port_ok = port.and_then(|port| port.parse::<u16>().ok()).is_some_and(|port| port > 0);
    let host_ok = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:".contains(&b));
    if host_ok && port_ok { Ok(text.to_owned()) } else { Err(wrong()) }
}
