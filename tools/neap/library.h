// library.h: where libneap.so is, and what of it and of others a process preloads.
#pragma once

#include <string>
#include <string_view>

namespace neap::command {

// NEAP_LIBRARY; else beside this command, as in a build folder; else where installing puts it. Empty: nowhere.
std::string FindLibrary();

// A value for LD_PRELOAD: what it held before, and then the library.
std::string PreloadWith(const std::string& library);

// The first entry of an LD_PRELOAD that is another allocator, or empty.
std::string OtherAllocatorIn(std::string_view preload);

}  // namespace neap::command
