//! `aws:` and the same keys of a destination to `aws` options. Invariant: no message and no warning holds a secret.

use super::{
    keys,
    read::{Map, Reader, Value, join},
    value,
};
use crate::aws::{Aws, StaticKeys};

/// Reads the top-level `aws:`.
pub(super) fn aws(r: &mut Reader<'_>, value: &Value<'_>) -> Aws {
    let map = r.map(value, &keys::AWS);
    map.map(|map| own(r, &map)).unwrap_or_default()
}

/// Reads the AWS keys of `aws:` or of a destination.
fn own(r: &mut Reader<'_>, map: &Map<'_>) -> Aws {
    Aws {
        region: r.key(map, "region", region),
        region_otherwise: None,
        endpoint_url: r.key(map, "endpoint_url", endpoint_url),
        role_arn: r.key(map, "role_arn", role_arn),
        external_id: r.key(map, "external_id", word),
        session_name: r.key(map, "session_name", session_name),
        sts_endpoint_url: r.key(map, "sts_endpoint_url", endpoint_url),
        fips: r.key(map, "fips", value::boolean),
        dual_stack: r.key(map, "dual_stack", value::boolean),
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

/// Reads the AWS keys of a destination; what it does not say is as in `defaults`.
pub(super) fn of_service(r: &mut Reader<'_>, map: &Map<'_>, defaults: &Aws) -> Aws {
    let aws = overlay(own(r, map), defaults);
    for name in ["external_id", "session_name", "sts_endpoint_url"] {
        if let (Some(written), None) = (map.get(name), &aws.role_arn) {
            r.warning(&written, "has no effect without a `role_arn`");
        }
    }
    for (name, on) in [("fips", aws.fips), ("dual_stack", aws.dual_stack)] {
        if on == Some(true) && aws.endpoint_url.is_some() {
            let at = map.get(name).or_else(|| map.get("endpoint_url")).map_or(map.at, |value| value.node.at);
            let text = "chooses among the region's endpoints, and `endpoint_url` names another; remove one of the two";
            r.problem_at(at, &join(&map.key, name), text);
        }
    }
    aws
}

/// `own` where it says something, else `defaults`.
fn overlay(own: Aws, defaults: &Aws) -> Aws {
    Aws {
        region: own.region.or_else(|| defaults.region.clone()),
        region_otherwise: own.region_otherwise.or_else(|| defaults.region_otherwise.clone()),
        endpoint_url: own.endpoint_url.or_else(|| defaults.endpoint_url.clone()),
        role_arn: own.role_arn.or_else(|| defaults.role_arn.clone()),
        external_id: own.external_id.or_else(|| defaults.external_id.clone()),
        session_name: own.session_name.or_else(|| defaults.session_name.clone()),
        sts_endpoint_url: own.sts_endpoint_url.or_else(|| defaults.sts_endpoint_url.clone()),
        fips: own.fips.or(defaults.fips),
        dual_stack: own.dual_stack.or(defaults.dual_stack),
        profile: own.profile.or_else(|| defaults.profile.clone()),
        ca_bundle: own.ca_bundle.or_else(|| defaults.ca_bundle.clone()),
        static_keys: own.static_keys.or_else(|| defaults.static_keys.clone()),
    }
}

pub(super) fn is_lower_or_dash(b: u8) -> bool {
    b.is_ascii_lowercase() || b == b'-'
}

pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

pub(super) fn region(text: &str) -> Result<String, String> {
    let known = |b: u8| is_lower_or_dash(b) || b.is_ascii_digit();
    if (1..=64).contains(&text.len()) && text.bytes().all(known) {
        return Ok(text.to_owned());
    }
    Err("is no region; it looks like eu-west-1".to_owned())
}

pub(super) fn role_arn(text: &str) -> Result<String, String> {
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

fn session_name(text: &str) -> Result<String, String> {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    if (2..=64).contains(&text.len()) && text.bytes().all(known) {
        return Ok(text.to_owned());
    }
    Err("is no name of a session; it has 2 to 64 letters, digits or `_ + = , . @ -`".to_owned())
}

/// Something without blanks at its ends.
pub(super) fn word(text: &str) -> Result<String, String> {
    if text.is_empty() || text.trim() != text || text.contains(char::is_control) {
        return Err("is empty, begins or ends with a blank, or holds a control character; write it without".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn endpoint_url(text: &str) -> Result<String, String> {
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
