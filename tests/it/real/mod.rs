//! The real binary, driven from outside: `headwater` as a process, real files, a Kinesis with faults.

mod commands;
mod disk;
mod errors;
mod follow;
mod logrotate;
mod network;
mod once;
mod restart;
mod service;
