mod announcements;
mod authors;
mod lost_host;
mod races;
mod rpcs;
mod verdicts;
