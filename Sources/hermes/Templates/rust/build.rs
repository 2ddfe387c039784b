fn main() {
    // So that the program finds libhermes.so where it is now.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", std::env::var("DEP_HERMES_LIB_DIR").unwrap());
}
