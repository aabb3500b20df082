// mapped_files.h: the files that the process has mapped as code, for whoever reads its profile: where, and their build
// ids, from /proc/self and from memory. No lock of the dynamic loader's is taken.
#pragma once

#include "alloc/profile_page.h"

namespace neap {

// Adds those that are not in the page yet.
void AddMappedFiles(ProfilePage& page);

}  // namespace neap
