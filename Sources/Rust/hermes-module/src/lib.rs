//! Simulation modules for Hermes.
//!
//! ```no_run
//! use hermes_module::{hermes_module, Error, Module, Signal, Signals};
//!
//! struct Thruster {
//!     command: Signal<f64>,
//!     thrust: Signal<f64>,
//! }
//!
//! impl Module for Thruster {
//!     fn new(signals: &mut Signals) -> Result<Self, Error> {
//!         Ok(Thruster {
//!             command: signals.input("command", 0.0).unit("N").declare()?,
//!             thrust: signals.output("thrust", 0.0).unit("N").declare()?,
//!         })
//!     }
//!
//!     fn step(&mut self, dt: f64) -> Result<(), Error> {
//!         let lag = (self.command.get() - self.thrust.get()) * dt / 0.1;
//!         self.thrust.set(self.thrust.get() + lag);
//!         Ok(())
//!     }
//! }
//!
//! hermes_module!(Thruster);
//! ```
//!
//! An `Err` or a panic ends the run, and its text stands in the report.

mod ffi;

use std::any::Any;
use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::marker::PhantomData;
use std::os::raw::{c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

/// Why a method failed. Any `std::error::Error` converts into it with `?`.
#[derive(Debug, Clone)]
pub struct Error {
    status: c_int,
    reason: String,
}

impl Error {
    /// Ends the run with status 1.
    pub fn new(reason: impl Into<String>) -> Self {
        Error::with_status(1, reason)
    }

    /// Ends the run with a status of your own; 0 is taken as 1.
    pub fn with_status(status: i32, reason: impl Into<String>) -> Self {
        Error { status: if status == 0 { 1 } else { status }, reason: reason.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Error::new(error.to_string())
    }
}

/// A simulation module. Only `new` and `step` are required.
pub trait Module: Send + Sized + 'static {
    /// True for modules with `save` and `load`.
    const SAVES_STATE: bool = false;

    /// Makes the module and declares its signals; [`config_path`] may be asked already.
    fn new(signals: &mut Signals) -> Result<Self, Error>;

    /// `config`: the module's `config:` file.
    fn init(&mut self, _config: Option<&Path>) -> Result<(), Error> {
        Ok(())
    }

    fn stage(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// `dt`: seconds of simulation time this step covers.
    fn step(&mut self, dt: f64) -> Result<(), Error>;

    /// Back to the start. The signals already have their declared defaults again.
    fn reset(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Called once at the end, also when the run breaks off: leave hardware in a safe state.
    fn terminate(&mut self) {}

    /// Called from another thread in place of `terminate` when the module hangs in one of the other methods.
    fn safe_state() {}

    /// Bytes that `load` understands.
    fn save(&self) -> Result<Vec<u8>, Error> {
        Err(Error::new("this module saves no state"))
    }

    fn load(&mut self, _state: &[u8]) -> Result<(), Error> {
        Err(Error::new("this module loads no state"))
    }
}

/// The types of signals: `f64`, `f32`, `i64`, `i32` and `bool`.
pub trait Value: Copy + Send + Sync + private::Bits + 'static {}

impl Value for f64 {}
impl Value for f32 {}
impl Value for i64 {}
impl Value for i32 {}
impl Value for bool {}

mod private {
    /// A value as the 8 bytes of its slot: small types in the first bytes.
    pub trait Bits {
        const TYPE: u32;
        fn to_bits(self) -> u64;
        fn from_bits(bits: u64) -> Self;
    }

    macro_rules! bits {
        ($type:ty, $code:expr, $value:ident => $to:expr, $bits:ident => $from:expr) => {
            impl Bits for $type {
                const TYPE: u32 = $code;
                fn to_bits(self) -> u64 {
                    let $value = self;
                    $to
                }
                fn from_bits($bits: u64) -> Self {
                    $from
                }
            }
        };
    }

    bits!(f64, 0, value => value.to_bits(), bits => f64::from_bits(bits));
    bits!(f32, 1, value => u64::from(value.to_bits()), bits => f32::from_bits(bits as u32));
    bits!(i64, 2, value => value as u64, bits => bits as i64);
    bits!(i32, 3, value => u64::from(value as u32), bits => bits as u32 as i32);
    bits!(bool, 4, value => u64::from(value), bits => bits as u8 != 0);
}

/// A declared signal. Its copies mean the same value, which libhermes carries to and from the segment around each step.
pub struct Signal<T: Value> {
    // Never freed: libhermes holds its address as long as the module lives. Atomic because a module may hand copies to
    // its own threads; relaxed, so it costs what a plain load or store costs.
    storage: &'static AtomicU64,
    value: PhantomData<T>,
}

impl<T: Value> Clone for Signal<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Value> Copy for Signal<T> {}

impl<T: Value> Signal<T> {
    pub fn get(&self) -> T {
        T::from_bits(self.storage.load(Ordering::Relaxed))
    }

    pub fn set(&self, value: T) {
        self.storage.store(value.to_bits(), Ordering::Relaxed);
    }
}

impl<T: Value + fmt::Debug> fmt::Debug for Signal<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(formatter)
    }
}

/// Where a module declares its signals.
pub struct Signals {
    defaults: Vec<(&'static AtomicU64, u64)>,
}

impl Signals {
    /// A signal the module reads: driven by a wire, else set by users.
    pub fn input<T: Value>(&mut self, name: &str, default: T) -> Declaration<'_, T> {
        self.declaration(name, default, ffi::INPUT)
    }

    /// A signal the module computes; a wire into it is refused.
    pub fn output<T: Value>(&mut self, name: &str, default: T) -> Declaration<'_, T> {
        self.declaration(name, default, ffi::OUTPUT)
    }

    /// A signal the module computes that a wire, or with `writable` a user, may also set.
    pub fn signal<T: Value>(&mut self, name: &str, default: T) -> Declaration<'_, T> {
        self.declaration(name, default, 0)
    }

    fn declaration<T: Value>(&mut self, name: &str, default: T, flags: u32) -> Declaration<'_, T> {
        Declaration { signals: self, name: name.to_owned(), default, flags, unit: None, description: None }
    }
}

/// A signal about to be declared; [`Declaration::declare`] does it.
#[must_use = "a signal exists only once declare() was called"]
pub struct Declaration<'a, T: Value> {
    signals: &'a mut Signals,
    name: String,
    default: T,
    flags: u32,
    unit: Option<String>,
    description: Option<String>,
}

impl<T: Value> Declaration<'_, T> {
    /// "m", "N", "rad/s"; wires between different units get a warning.
    pub fn unit(mut self, unit: &str) -> Self {
        self.unit = Some(unit.to_owned());
        self
    }

    /// One line.
    pub fn description(mut self, text: &str) -> Self {
        self.description = Some(text.to_owned());
        self
    }

    /// Users may set it from outside.
    pub fn writable(mut self) -> Self {
        self.flags |= ffi::WRITABLE;
        self
    }

    /// Leaves it out of recordings and digests.
    pub fn hidden(mut self) -> Self {
        self.flags |= ffi::HIDDEN;
        self
    }

    pub fn declare(self) -> Result<Signal<T>, Error> {
        let bits = self.default.to_bits();
        let storage: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(bits)));
        let name = CString::new(self.name)?;
        let unit = self.unit.map(CString::new).transpose()?;
        let description = self.description.map(CString::new).transpose()?;
        let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
        let declaration = ffi::SignalDeclaration {
            name: name.as_ptr(),
            type_: T::TYPE,
            flags: self.flags,
            unit: pointer(&unit),
            description: pointer(&description),
            storage: storage.as_ptr().cast::<c_void>(),
        };
        // SAFETY: the texts live until the call returns, which copies them; the storage lives for ever.
        if unsafe { ffi::hermes_declare(&declaration) } != 0 {
            return Err(Error::new(last_error()));
        }
        self.signals.defaults.push((storage, bits));
        Ok(Signal { storage, value: PhantomData })
    }
}

/// The module's name in the configuration; "" outside a simulation.
pub fn module_name() -> String {
    // SAFETY: a zero-ended string that lives as long as the module.
    unsafe { CStr::from_ptr(ffi::hermes_module_name()) }.to_string_lossy().into_owned()
}

/// The module's `config:` file; `None` without one.
pub fn config_path() -> Option<PathBuf> {
    // SAFETY: NULL or a zero-ended string that lives as long as the module.
    unsafe { path(ffi::hermes_config_path()) }
}

/// The frame being stepped: n while `step` computes frame n, 0 before the first.
pub fn frame() -> u64 {
    // SAFETY: no conditions.
    unsafe { ffi::hermes_frame() }
}

/// Simulation time in seconds at the end of that frame, n / rate.
pub fn time() -> f64 {
    // SAFETY: no conditions.
    unsafe { ffi::hermes_time() }
}

fn last_error() -> String {
    // SAFETY: a zero-ended string of this thread, copied at once.
    unsafe { CStr::from_ptr(ffi::hermes_last_error()) }.to_string_lossy().into_owned()
}

/// SAFETY: `text` is NULL or a zero-ended string.
unsafe fn path(text: *const c_char) -> Option<PathBuf> {
    if text.is_null() {
        return None;
    }
    Some(PathBuf::from(OsStr::from_bytes(CStr::from_ptr(text).to_bytes())))
}

/// The one module of an executable or shared object; made by [`hermes_module!`].
#[doc(hidden)]
pub struct Host<M: Module> {
    held: Mutex<Option<Held<M>>>,
}

struct Held<M> {
    module: M,
    defaults: Vec<(&'static AtomicU64, u64)>,
    saved: Option<Vec<u8>>,
}

// How long terminate waits for another method to return before it counts as hanging. The node grants one second.
const HANGS_AFTER: Duration = Duration::from_millis(200);

impl<M: Module> Host<M> {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Host { held: Mutex::new(None) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held<M>>> {
        self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn with(&self, work: impl FnOnce(&mut Held<M>) -> Result<(), Error>) -> c_int {
        let mut guard = self.lock();
        guarded(|| match guard.as_mut() {
            Some(held) => work(held),
            None => Err(Error::new("the module was not created")),
        })
    }

    pub fn create(&self) -> c_int {
        let status = guarded(|| {
            let mut signals = Signals { defaults: Vec::new() };
            let module = M::new(&mut signals)?;
            *self.lock() = Some(Held { module, defaults: signals.defaults, saved: None });
            Ok(())
        });
        status
    }

    pub fn destroy(&self) {
        let held = self.lock().take();
        guarded(|| {
            drop(held);
            Ok(())
        });
    }

    /// # Safety
    /// `config` is NULL or a zero-ended string.
    pub unsafe fn init(&self, config: *const c_char) -> c_int {
        let config = path(config);
        self.with(|held| held.module.init(config.as_deref()))
    }

    pub fn stage(&self) -> c_int {
        self.with(|held| held.module.stage())
    }

    pub fn step(&self, dt: f64) -> c_int {
        self.with(|held| held.module.step(dt))
    }

    pub fn reset(&self) -> c_int {
        self.with(|held| {
            for (storage, bits) in &held.defaults {
                storage.store(*bits, Ordering::Relaxed);
            }
            held.module.reset()
        })
    }

    pub fn terminate(&self) {
        let begun = Instant::now();
        loop {
            match self.held.try_lock() {
                Ok(mut guard) => return terminate_held(&mut guard),
                Err(TryLockError::Poisoned(poisoned)) => return terminate_held(&mut poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if begun.elapsed() < HANGS_AFTER => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => break,
            }
        }
        guarded(|| {
            M::safe_state();
            Ok(())
        });
    }

    /// # Safety
    /// `buffer` has room for `capacity` bytes.
    pub unsafe fn save(&self, buffer: *mut c_void, capacity: usize) -> usize {
        let mut size = usize::MAX;
        self.with(|held| {
            // libhermes asks for the size first: what answers that question is what it then gets.
            let state = match held.saved.take() {
                Some(state) if capacity > 0 => state,
                _ => held.module.save()?,
            };
            size = state.len();
            if capacity > 0 && size <= capacity {
                std::ptr::copy_nonoverlapping(state.as_ptr(), buffer.cast::<u8>(), size);
            } else {
                held.saved = Some(state);
            }
            Ok(())
        });
        size
    }

    /// # Safety
    /// `buffer` holds `size` bytes.
    pub unsafe fn load(&self, buffer: *const c_void, size: usize) -> c_int {
        let state = if size == 0 { &[] } else { std::slice::from_raw_parts(buffer.cast::<u8>(), size) };
        self.with(|held| held.module.load(state))
    }
}

fn terminate_held<M: Module>(held: &mut Option<Held<M>>) {
    guarded(|| {
        if let Some(held) = held {
            held.module.terminate();
        }
        Ok(())
    });
}

/// Runs one method: 0, or the status of its error, with the reason left for the report. A panic is status 1.
fn guarded(work: impl FnOnce() -> Result<(), Error>) -> c_int {
    let error = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return 0,
        Ok(Err(error)) => error,
        Err(panic) => Error::new(format!("panicked: {}", panic_text(&*panic))),
    };
    let reason = CString::new(error.reason.replace('\0', " ")).unwrap_or_default();
    // SAFETY: the format takes one zero-ended string.
    unsafe { ffi::hermes_fail(b"%s\0".as_ptr().cast::<c_char>(), reason.as_ptr()) };
    error.status
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with no message")
}

#[doc(hidden)]
pub use ffi::{hermes_provide_state, ModuleFunctions};

/// Runs this process as its module, until the simulation ends; the `main` of [`hermes_module!`].
#[doc(hidden)]
pub fn run(
    create: extern "C" fn() -> *mut ModuleFunctions,
    destroy: extern "C" fn(*mut ModuleFunctions),
) -> std::process::ExitCode {
    // SAFETY: both are the functions of the C ABI.
    let status = unsafe { ffi::hermes_module_run(create, destroy) };
    std::process::ExitCode::from(u8::try_from(status).unwrap_or(1))
}

/// Makes a type this program's module: defines `hermes_module_create`, `hermes_module_destroy` and, for executables, `main`.
/// In a `cdylib` the same line makes a module for `type: inproc`.
#[macro_export]
macro_rules! hermes_module {
    ($module:ty) => {
        static HERMES_HOST: $crate::Host<$module> = $crate::Host::new();

        #[no_mangle]
        pub extern "C" fn hermes_module_create() -> *mut $crate::ModuleFunctions {
            use std::os::raw::{c_char, c_int, c_void};
            unsafe extern "C" fn init(config: *const c_char, _shm: *const c_char) -> c_int {
                HERMES_HOST.init(config)
            }
            extern "C" fn stage() -> c_int {
                HERMES_HOST.stage()
            }
            extern "C" fn step(dt: f64) -> c_int {
                HERMES_HOST.step(dt)
            }
            extern "C" fn reset() -> c_int {
                HERMES_HOST.reset()
            }
            extern "C" fn terminate() {
                HERMES_HOST.terminate()
            }
            unsafe extern "C" fn save(buffer: *mut c_void, capacity: usize) -> usize {
                HERMES_HOST.save(buffer, capacity)
            }
            unsafe extern "C" fn load(buffer: *const c_void, size: usize) -> c_int {
                HERMES_HOST.load(buffer, size)
            }
            if HERMES_HOST.create() != 0 {
                return std::ptr::null_mut();
            }
            if <$module as $crate::Module>::SAVES_STATE {
                // SAFETY: both keep to the lengths they are given.
                unsafe { $crate::hermes_provide_state(save, load) };
            }
            static FUNCTIONS: $crate::ModuleFunctions = $crate::ModuleFunctions {
                init: Some(init),
                stage: Some(stage),
                step: Some(step),
                reset: Some(reset),
                terminate: Some(terminate),
                get_signal: None,
                set_signal: None,
                list_signals: None,
            };
            std::ptr::addr_of!(FUNCTIONS).cast_mut()
        }

        #[no_mangle]
        pub extern "C" fn hermes_module_destroy(_module: *mut $crate::ModuleFunctions) {
            HERMES_HOST.destroy()
        }

        #[allow(dead_code)]
        fn main() -> std::process::ExitCode {
            $crate::run(hermes_module_create, hermes_module_destroy)
        }
    };
}
