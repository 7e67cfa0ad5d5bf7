//! The fuzzer: libFuzzer's own command line, for the target that `LOGWEIR_FUZZ` names. With
//! `LOGWEIR_FUZZ_SEEDS` it only writes the inputs to start with to that folder.
#![no_main]

mod properties;
mod seeds;

use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

static PROPERTY: OnceLock<properties::Property> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("LOGWEIR_FUZZ").expect("LOGWEIR_FUZZ names a target");
        let property = properties::target(&name).expect("LOGWEIR_FUZZ names a target that exists");
        if let Some(folder) = std::env::var_os("LOGWEIR_FUZZ_SEEDS") {
            seeds::write(&name, Path::new(&folder)).expect("the seeds can be written");
            std::process::exit(0);
        }
        _ = PROPERTY.set(property);
    },
    |data: &[u8]| {
        if let Some(property) = PROPERTY.get() {
            property(data);
        }
    }
);
