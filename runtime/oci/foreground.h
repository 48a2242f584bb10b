// A process in the foreground: our terminal is its terminal, signals to us are signals to it. Private to oci/.
#pragma once

#include "runtime/oci/container.h"

namespace kcube::runtime::oci {

// Blocks the signals that are passed on. Before any thread exists.
void block_signals();
// Copies between our stdio and the session's console until its end; the terminal is raw meanwhile.
int follow_console(StreamSession session);
// Passes signals on until the container has ended; its exit code.
Result<int> follow_container(OciContainer& container);

}  // namespace kcube::runtime::oci
