//! The real binary, driven from outside: `headwater` as a process, real files, a Kinesis with faults.

mod access;
mod aggregate;
mod commands;
mod content;
mod disk;
mod errors;
mod examples;
mod files;
mod firehose;
mod folders;
mod follow;
mod logrotate;
mod network;
mod once;
mod order;
mod processing;
mod restart;
mod rotation;
mod selection;
mod service;
