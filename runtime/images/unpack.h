// Unpacks one layer's tar stream into a directory that overlayfs can stack: whiteouts become 0:0 devices, opaque
// directories get trusted.overlay.opaque. Nothing is written outside the directory, whatever names the layer has.
// Source: OCI image-spec "layer.md"; the kernel's filesystems/overlayfs.
#pragma once

#include <string>
#include <vector>

#include "pkg/base/fd.h"
#include "runtime/images/source.h"

namespace kcube::runtime::images {

struct Unpacked {
  // Directories that entries are in but that have none of their own: in the image they look like the ones below.
  std::vector<std::string> implied_directories;
};

// Into the empty directory `root`. `tar` is read to its very end (so that its hash is complete). 400 for damaged or
// hostile layers, with the name of the entry.
Result<Unpacked> unpack_layer(ByteSource& tar, const Fd& root);

// Gives each implied directory the owner, mode and time of the uppermost directory of that path among `lower`
// (lowest first).
Result<void> copy_directory_metadata(const std::vector<std::string>& implied, const Fd& root,
                                     const std::vector<std::string>& lower);

}  // namespace kcube::runtime::images
