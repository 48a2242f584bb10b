// `kcube runtime`: the OCI runtime command line over the runtime library, for those who bring their own bundles.
// Source: OCI runtime-spec 1.0.2 (config.md, runtime.md) and the command line that container engines agree on.
//
// Each container is a sandbox of its own in its own state directory, so that invocations for different containers
// never meet. Namespaces that the bundle names are made or entered by `create` itself, and inherited.
#pragma once

namespace kcube::runtime::oci {

// argv[0] is the program as the user calls it ("kcube runtime"). Returns the exit code.
int oci_main(int argc, char** argv);

}  // namespace kcube::runtime::oci
