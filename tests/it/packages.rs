//! What logweir is shipped as: the Debian package, the image, the ECS task, the manual.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use logweir::config::ShutdownConfig;
use serde_json::Value;

const LOGWEIR: &str = env!("CARGO_BIN_EXE_logweir");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn said(output: Output) -> String {
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// The package, made from a script that runs the program: stripping and packing that takes long.
fn make_deb(folder: &Path) -> Option<PathBuf> {
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no dpkg-deb here, so this test has checked nothing");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no dpkg-deb, and CI=true");
        return None;
    }
    let program = folder.join("logweir");
    fs::write(&program, format!("#!/bin/sh\nexec '{LOGWEIR}' \"$@\"\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut make = Command::new(root().join("systemd/make-deb"));
    let output = make.arg(&program).arg(folder).env("SOURCE_DATE_EPOCH", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end()))
}

fn dpkg_deb(option: &str, package: &Path) -> String {
    said(Command::new("dpkg-deb").arg(option).arg(package).output().unwrap())
}

#[test]
fn the_package_has_program_unit_configuration_manual_and_completions() {
    let folder = tempfile::tempdir().unwrap();
    let Some(package) = make_deb(folder.path()) else { return };
    let contents = dpkg_deb("--contents", &package);
    for (mode, path) in [
        ("-rwxr-xr-x root/root", "./usr/bin/logweir"),
        ("-rw-r--r-- root/root", "./usr/lib/systemd/system/logweir.service"),
        ("-rw-r--r-- root/root", "./usr/lib/sysusers.d/logweir.conf"),
        ("-rw-r----- root/root", "./etc/logweir/logweir.toml"),
        ("-rw-r--r-- root/root", "./usr/share/man/man1/logweir.1.gz"),
        ("-rw-r--r-- root/root", "./usr/share/man/man1/logweir-dead-letter-replay.1.gz"),
        ("-rw-r--r-- root/root", "./usr/share/bash-completion/completions/logweir"),
        ("-rw-r--r-- root/root", "./usr/share/zsh/vendor-completions/_logweir"),
        ("-rw-r--r-- root/root", "./usr/share/fish/vendor_completions.d/logweir.fish"),
        ("-rw-r--r-- root/root", "./usr/share/doc/logweir/README.md"),
        ("-rw-r--r-- root/root", "./usr/share/doc/logweir/copyright"),
        ("-rw-r--r-- root/root", "./usr/share/doc/logweir/examples/alerts.yml"),
    ] {
        let there = contents.lines().any(|line| line.starts_with(mode) && line.ends_with(path));
        assert!(there, "{path} with {mode}: {contents}");
    }
    let fields = dpkg_deb("--field", &package);
    for field in ["Package: logweir", "Depends: libc6", "ca-certificates"] {
        assert!(fields.contains(field), "{field}: {fields}");
    }
    let version = format!("Version: {}\n", env!("CARGO_PKG_VERSION"));
    assert!(fields.contains(&version), "{fields}");
    let conffiles = Command::new("dpkg-deb").arg("--info").arg(&package).arg("conffiles").output();
    assert_eq!(said(conffiles.unwrap()), "/etc/logweir/logweir.toml\n");
}

#[test]
fn the_same_program_makes_the_same_package() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let packages = folders.each_ref().map(|folder| make_deb(folder.path()));
    let [Some(one), Some(other)] = packages else { return };
    assert!(fs::read(one).unwrap() == fs::read(other).unwrap());
}

#[test]
fn every_command_has_a_manual_page_and_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    said(Command::new(LOGWEIR).arg("man").arg(folder.path()).output().unwrap());
    let pages = fs::read_dir(folder.path()).unwrap().map(|page| page.unwrap().file_name());
    let pages: BTreeSet<String> = pages.map(|page| page.into_string().unwrap()).collect();
    let scripts = ["bash", "zsh", "fish"].map(|shell| {
        let script = Command::new(LOGWEIR).args(["completions", shell]).output().unwrap();
        said(script)
    });
    let help = said(Command::new(LOGWEIR).arg("--help").output().unwrap());
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    let commands = commands.lines().filter_map(|line| line.strip_prefix("  "));
    let commands = commands.filter(|line| !line.starts_with(' ') && !line.starts_with("help"));
    let commands: Vec<_> = commands.map(|line| line.split(' ').next().unwrap()).collect();
    assert!(commands.len() >= 7, "{commands:?}");
    for command in commands {
        let page = format!("logweir-{command}.1");
        assert!(pages.contains(&page), "{page} is not in {pages:?}");
        for script in &scripts {
            assert!(script.contains(command), "{command} is not in {script}");
        }
    }
    let bash = folder.path().join("logweir.bash");
    fs::write(&bash, &scripts[0]).unwrap();
    said(Command::new("bash").arg("-n").arg(bash).output().unwrap());
}

/// How glibc is told to give memory back, in the image and in the unit.
const ALLOCATOR: &str = "ENV MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=1048576";

/// The instructions of a Dockerfile, each on one line.
fn instructions() -> Vec<String> {
    let text = read("Dockerfile");
    let lines = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>();
    let whole = lines.join("\n").replace("\\\n", " ");
    whole.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_image_runs_as_nobody_and_holds_no_secret() {
    let instructions = instructions();
    let last = instructions.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    let runtime = &instructions[last..];
    let has = |line: &str| assert!(runtime.iter().any(|is| is.starts_with(line)), "{line}");
    for line in ["USER 10001:10001", "STOPSIGNAL SIGTERM", "ENTRYPOINT [\"logweir\"]"] {
        has(line);
    }
    for line in &instructions {
        let kind = line.split(' ').next().unwrap();
        // Whatever these hold can be read out of the image.
        let is_known = line == ALLOCATOR;
        assert!(is_known || !["ARG", "ENV", "ADD"].contains(&kind), "{line}");
    }
    // Without it the promise about memory does not hold.
    let unit = read("systemd/logweir.service");
    let allocator = ALLOCATOR.strip_prefix("ENV ").unwrap();
    assert!(unit.contains(&format!("\nEnvironment={allocator}\n")), "{allocator}");
    has(ALLOCATOR);
    let ignored = read(".dockerignore");
    let mut ignored = ignored.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(ignored.next(), Some("*"), "only what is named gets in");
    for path in ignored.map(|line| line.strip_prefix('!').unwrap()) {
        assert!(root().join(path).exists(), "{path}");
    }
    // Nothing else would tell that the image is built for other processors than the package is.
    assert!(read(".dockerignore").contains("\n!.cargo/config.toml\n"));
    assert!(read(".cargo/config.toml").contains("target-cpu=x86-64-v2"));
    let build = instructions.iter().find(|line| line.contains("cargo build")).unwrap();
    assert!(build.contains("--locked --release"), "{build}");
    let rust = env!("CARGO_PKG_RUST_VERSION");
    assert!(instructions[0].starts_with(&format!("FROM rust:{rust}-")), "{}", instructions[0]);
}

/// There is no engine for containers in the tests: these are the commands that the image would run.
#[test]
fn the_commands_of_the_image_are_commands_of_the_program() {
    let instructions = instructions();
    let smoke = instructions.iter().find(|line| line.contains("\"validate\"")).unwrap();
    let (_, smoke) = smoke.split_once('[').unwrap();
    let smoke: Vec<String> = serde_json::from_str(&format!("[{smoke}")).unwrap();
    let config = smoke.last().unwrap().replace("/mnt/", "config/");
    let mut validate = Command::new(LOGWEIR);
    let valid = validate.args(&smoke[1..smoke.len() - 1]).arg(config).current_dir(root()).output();
    assert!(said(valid.unwrap()).contains("valid"), "{smoke:?}");

    let check = instructions.iter().find(|line| line.starts_with("HEALTHCHECK")).unwrap();
    let (_, check) = check.split_once(" CMD ").unwrap();
    let check: Vec<String> = serde_json::from_str(check).unwrap();
    assert_eq!(check, ["logweir", "health"]);
    let task = task();
    let in_task = task["containerDefinitions"][0]["healthCheck"]["command"].as_array().unwrap();
    assert_eq!(in_task[0], "CMD");
    assert!(in_task[1..].iter().eq(&check), "{in_task:?}");
    // Nobody listens there: not live is 1, as both want it.
    let mut health = Command::new(LOGWEIR);
    let health = health.args(&check[1..]).args(["--address", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(health.status.code(), Some(1));
}

fn task() -> Value {
    serde_json::from_str(&read("config/ecs-task.json")).unwrap()
}

#[test]
fn the_ecs_task_waits_for_the_drain_and_keeps_its_state() {
    let task = task();
    let container = &task["containerDefinitions"][0];
    let deadline = ShutdownConfig::default().deadline.0.as_secs();
    assert!(container["stopTimeout"].as_u64().unwrap() >= deadline + 10);
    let mount = &container["mountPoints"][0];
    assert_eq!(mount["containerPath"], "/var/lib/logweir");
    assert_eq!(mount["sourceVolume"], task["volumes"][0]["name"]);
    for variable in container["environment"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        let secret = ["PASSWORD", "TOKEN", "SECRET", "KEY"].iter().any(|word| name.contains(word));
        assert!(!secret, "{name} belongs under `secrets`");
    }
}
