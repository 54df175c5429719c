//! The real binary, driven from outside: `headwater` as a process, real files, a Kinesis with faults.

mod access;
mod agent_json;
mod aggregate;
mod boot;
mod commands;
mod content;
mod disk;
mod ec2;
mod errors;

mod exactly_once;
mod examples;
mod files;
mod firehose;
mod folders;
mod follow;
mod logrotate;
mod metrics;
mod migrate;
mod network;
mod once;
mod online;
mod order;
mod parse;
mod processing;
mod reload;
mod restart;
mod rotation;
mod selection;
mod service;
mod throttle;
