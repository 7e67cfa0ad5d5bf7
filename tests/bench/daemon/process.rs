//! The processes of a run, what they say, and what they have cost so far.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// What `/proc` counts in, on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// A process of ours. Dropping it kills it.
pub(super) struct Process {
    child: Child,
    name: &'static str,
    lines: Receiver<String>,
}

impl Process {
    /// Starts it. It ends with us, however we end.
    pub(super) fn start(name: &'static str, command: &Command) -> Self {
        let mut with_us = Command::new("setpriv");
        with_us.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
        for (variable, value) in command.get_envs() {
            with_us.env(variable, value.unwrap_or_default());
        }
        with_us.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = with_us.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let said = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        // It ends with the process, or when nobody listens any more.
        thread::spawn(move || {
            said.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, name, lines }
    }

    /// Another process of this program.
    pub(super) fn of_ours(name: &'static str, words: &[String]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(name).args(words);
        Self::start(name, &command)
    }

    /// Waits until it says `word`, and returns what follows; none when it does not say so.
    pub(super) fn hear(&self, word: &str, patience: Duration) -> Option<String> {
        loop {
            let line = self.lines.recv_timeout(patience).ok()?;
            if let Some(rest) = line.strip_prefix(word) {
                return Some(rest.trim().to_owned());
            }
        }
    }

    /// The same of what is always said.
    pub(super) fn says(&self, word: &str, patience: Duration) -> String {
        let heard = self.hear(word, patience);
        heard.unwrap_or_else(|| panic!("{} never says {word}", self.name))
    }

    pub(super) fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Processor time of it so far, in the program and in the kernel.
    pub(super) fn cpu(&self) -> Duration {
        cpu_of(&self.child.id().to_string()).unwrap_or_else(|| panic!("{} has ended", self.name))
    }

    /// The most memory that it has ever had resident, in MiB.
    pub(super) fn peak_memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }
}

/// The same of any process; none when it has ended.
pub(super) fn cpu_of(pid: &str) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may have spaces in it; user and system time are the 14th and 15th field.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
