// `--domain NAME`: where the file of a domain lies that is named without its folder.
//
// Threads: the main thread's; reads the environment.
#pragma once

#include <string>

#include "vmm/base/error.h"

namespace vmm::cli {

// A name with a '/' in it, and that of a file in this folder, is the file. Another one is looked up as
// NAME.xml (as NAME, where it ends in .xml) here, in $XDG_CONFIG_HOME/vmm, which is ~/.config/vmm if not set,
// and in /etc/libvirt/qemu. An error, of the command line, names these places.
Result<std::string> find_domain_file(const std::string& name);

}  // namespace vmm::cli
