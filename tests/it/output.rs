//! Output that nobody reads, or that has no room: the real binary says so and does not break.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

fn validate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/config/sqlite.toml");
    command.args(["validate", "--config", config]);
    command
}

#[test]
fn one_is_not_said_as_several() {
    let said = String::from_utf8(validate().output().unwrap().stdout).unwrap();
    assert!(said.ends_with(": valid: 1 stream, 3 routes, 1 destination\n"), "{said}");
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = validate().stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn output_without_room_is_a_failure_that_is_told() {
    let of = |word| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
        command.arg(word);
        command
    };
    for mut command in [validate(), of("--help"), of("--version")] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.starts_with("error: could not write the output: "), "{said}");
    }
}

/// As when a supervisor that read it has gone, or the disk of its log is full.
#[test]
fn an_error_that_nobody_can_read_has_its_exit_code_all_the_same() {
    for words in [&["validate", "--config", "nowhere.toml"][..], &["setup", "--config", "nowhere"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        for stderr in [Stdio::from(writer), Stdio::from(full)] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
            let status = command.args(words).stderr(stderr).status().unwrap();
            assert_eq!(status.code(), Some(64), "{words:?}");
        }
    }
}
