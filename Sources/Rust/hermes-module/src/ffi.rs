//! include/hermes/module.h, as far as this crate uses it.

use std::os::raw::{c_char, c_int, c_void};

pub const WRITABLE: u32 = 1;
pub const HIDDEN: u32 = 2;
pub const INPUT: u32 = 4;
pub const OUTPUT: u32 = 8;

/// hermes_signal_t
#[repr(C)]
pub struct SignalDeclaration {
    pub name: *const c_char,
    pub type_: u32,
    pub flags: u32,
    pub unit: *const c_char,
    pub description: *const c_char,
    pub storage: *mut c_void,
}

/// hermes_module_t
#[repr(C)]
pub struct ModuleFunctions {
    pub init: Option<unsafe extern "C" fn(*const c_char, *const c_char) -> c_int>,
    pub stage: Option<extern "C" fn() -> c_int>,
    pub step: Option<extern "C" fn(f64) -> c_int>,
    pub reset: Option<extern "C" fn() -> c_int>,
    pub terminate: Option<extern "C" fn()>,
    pub get_signal: Option<unsafe extern "C" fn(*const c_char) -> f64>,
    pub set_signal: Option<unsafe extern "C" fn(*const c_char, f64)>,
    pub list_signals: Option<extern "C" fn() -> *mut *const c_char>,
}

extern "C" {
    pub fn hermes_declare(signal: *const SignalDeclaration) -> c_int;
    pub fn hermes_module_name() -> *const c_char;
    pub fn hermes_config_path() -> *const c_char;
    pub fn hermes_frame() -> u64;
    pub fn hermes_time() -> f64;
    pub fn hermes_fail(format: *const c_char, ...);
    pub fn hermes_last_error() -> *const c_char;
    pub fn hermes_provide_state(
        save: unsafe extern "C" fn(*mut c_void, usize) -> usize,
        load: unsafe extern "C" fn(*const c_void, usize) -> c_int,
    );
    pub fn hermes_module_run(
        create: extern "C" fn() -> *mut ModuleFunctions,
        destroy: extern "C" fn(*mut ModuleFunctions),
    ) -> c_int;
}
