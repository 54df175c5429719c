//! A `CloudWatch` that notes what it is told and answers as it is told to. For one that understands there is `moto`.

use std::{
    collections::BTreeMap,
    io::{self, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{http, pause};

/// How it answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Takes,
    /// `AccessDenied`.
    Denies,
    /// Never answers.
    Silent,
}

/// The server; runs until the test process ends.
pub(crate) struct CloudWatch {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
}

struct State {
    mood: Mood,
    asked: usize,
    /// The parameters of each request that was taken.
    taken: Vec<BTreeMap<String, String>>,
}

impl CloudWatch {
    pub(crate) fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = Arc::new(Mutex::new(State { mood, asked: 0, taken: Vec::new() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(&client, &state));
            }
        });
        Self { state, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// Requests so far, however they were answered.
    pub(crate) fn asked(&self) -> usize {
        self.state().asked
    }

    /// The sum of a metric over every request that was taken.
    pub(crate) fn sum(&self, metric: &str) -> u64 {
        let state = self.state();
        let sums = state.taken.iter().flat_map(|request| {
            let named = request.iter().filter(|(name, value)| name.ends_with(".MetricName") && *value == metric);
            named.map(|(name, _)| &request[&name.replace(".MetricName", ".StatisticValues.Sum")])
        });
        sums.map(|sum| sum.parse::<u64>().expect("a sum is a number")).sum()
    }

    /// The different values of a dimension.
    pub(crate) fn dimension(&self, name: &str) -> Vec<String> {
        let state = self.state();
        let values = state.taken.iter().flat_map(|request| {
            let named = request.iter().filter(|(key, value)| key.ends_with(".Name") && *value == name);
            named.map(|(key, _)| request[&format!("{}.Value", key.trim_end_matches(".Name"))].clone())
        });
        let mut values: Vec<String> = values.collect();
        values.sort();
        values.dedup();
        values
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(client: &TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    while let Some(head) = http::read_head(&mut reader)? {
        let body = String::from_utf8(http::read_body(&mut reader, &head)?).map_err(io::Error::other)?;
        let mood = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.asked += 1;
            if state.mood == Mood::Takes {
                state.taken.push(body.split('&').filter_map(|pair| pair.split_once('=')).map(decoded).collect());
            }
            state.mood
        };
        match mood {
            Mood::Takes => http::answer(&mut &*client, 200, "<PutMetricDataResponse/>", usize::MAX)?,
            Mood::Denies => {
                let error =
                    "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>";
                http::answer(&mut &*client, 403, error, usize::MAX)?;
            }
            Mood::Silent => pause(super::SOON * 4),
        }
    }
    Ok(())
}

/// As much of percent-encoding as names and values of metrics need.
fn decoded((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.replace("%3A", ":").replace("%20", " "))
}
