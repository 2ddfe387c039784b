/* The weak main that turns a module's source file into an executable. */
#include <hermes/module.h>

__attribute__((weak)) int main(int argc, char **argv) { return hermes_module_main(argc, argv); }
