// profile_data.cc: see profile_data.h. The file comes from another process: its counts and indices are checked.
#include "tools/neap/profile_data.h"

#include <cxxabi.h>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>

#include "tools/neap/bytes.h"
#include "tools/neap/elf.h"
#include "tools/neap/failure.h"
#include "tools/neap/output.h"
#include "tools/neap/pages.h"
#include "tools/neap/proc.h"

namespace neap::command {
namespace {

class MappedProfile {
 public:
  MappedProfile(MappedProfile&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  MappedProfile(const MappedProfile&) = delete;
  MappedProfile& operator=(const MappedProfile&) = delete;
  ~MappedProfile() {
    if (page_ != nullptr) munmap(page_, sizeof(ProfilePage));
  }
  static std::optional<MappedProfile> Open(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return std::nullopt;
    struct stat status {};
    uint64_t magic = 0;
    void* memory = MAP_FAILED;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && pread(fd, &magic, sizeof magic, 0) == sizeof magic &&
        magic == kProfileMagic && static_cast<size_t>(status.st_size) >= sizeof(ProfilePage)) {
      memory = mmap(nullptr, sizeof(ProfilePage), PROT_READ, MAP_SHARED, fd, 0);
    }
    close(fd);
    if (memory == MAP_FAILED) return std::nullopt;
    return MappedProfile(static_cast<ProfilePage*>(memory));
  }
  const ProfilePage& page() const { return *page_; }

 private:
  explicit MappedProfile(ProfilePage* page) : page_(page) {}
  ProfilePage* page_;
};

std::string Demangled(const std::string& name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&free)> text(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), free);
  return status == 0 ? text.get() : name;
}

// Names of functions that were compiled at run time: /tmp/perf-PID.map, "start size name" in each line.
class JitNames {
 public:
  explicit JitNames(uint64_t pid) {
    const std::string name = fmt::format("/tmp/perf-{}.map", pid);
    std::optional<std::string> text = ReadWholeFile(ProcPath(static_cast<pid_t>(pid), "root") + name);
    if (!text) text = ReadWholeFile(name);
    if (!text) return;
    for (size_t at = 0; at < text->size();) {
      const size_t end = std::min(text->find('\n', at), text->size());
      uint64_t begin = 0, size = 0;
      int name_at = 0;
      const std::string line = text->substr(at, end - at);
      if (sscanf(line.c_str(), "%lx %lx %n", &begin, &size, &name_at) == 2 && name_at > 0) {
        functions_.push_back({begin, size, line.substr(static_cast<size_t>(name_at))});
      }
      at = end + 1;
    }
    std::stable_sort(functions_.begin(), functions_.end(),
                     [](const ElfFunction& a, const ElfFunction& b) { return a.offset < b.offset; });
  }
  std::string NameAt(uint64_t address) const { return FunctionAt(functions_, address); }

 private:
  std::vector<ElfFunction> functions_;
};

class Symbols {
 public:
  explicit Symbols(const ProfileData& profile)
      : profile_(profile), jit_(profile.pid), root_(ProcPath(static_cast<pid_t>(profile.pid), "root")) {}

  std::string NameOf(uint64_t address, int module) {
    if (module < 0) return jit_.NameAt(address);
    const ProfileModule& mapped = profile_.modules[static_cast<size_t>(module)];
    return Demangled(FunctionAt(FunctionsOf(mapped), address - mapped.begin + mapped.offset));
  }

 private:
  // Of the file as the process sees it, where that is still the file it mapped.
  const std::vector<ElfFunction>& FunctionsOf(const ProfileModule& module) {
    const auto [known, added] = functions_.try_emplace(module.path);
    if (!added) return known->second;
    const std::string build_id(reinterpret_cast<const char*>(module.build_id), module.build_id_bytes);
    for (const std::string& path : {root_ + module.path, std::string(module.path)}) {
      ElfFunctions read = ReadFunctions(path);
      if (read.build_id != build_id) continue;
      known->second = std::move(read.functions);
      break;
    }
    return known->second;
  }

  const ProfileData& profile_;
  JitNames jit_;
  std::string root_;
  std::unordered_map<std::string, std::vector<ElfFunction>> functions_;
};

// The last one that was mapped there.
int ModuleAt(const ProfileData& profile, uint64_t address) {
  for (size_t i = profile.modules.size(); i-- > 0;) {
    if (address >= profile.modules[i].begin && address < profile.modules[i].end) return static_cast<int>(i);
  }
  return -1;
}

void AddFrames(const ProfilePage& page, ProfileData& profile) {
  Symbols symbols(profile);
  std::unordered_map<uint64_t, uint32_t> known;
  for (size_t i = 0; i < profile.stacks.size(); ++i) {
    const ProfileStack& stack = page.stack[i];
    if (stack.first > kProfileFrames || stack.depth > kProfileFrames - stack.first) continue;
    for (uint32_t f = 0; f < std::min(stack.depth, kProfileDepth); ++f) {
      const uint64_t address = page.frame[stack.first + f] - 1;  // the call is before where it returns to
      const auto [at, added] = known.try_emplace(address, static_cast<uint32_t>(profile.frames.size()));
      if (added) {
        const int module = ModuleAt(profile, address);
        profile.frames.push_back({address, module, symbols.NameOf(address, module)});
      }
      profile.stacks[i].frames.push_back(at->second);
    }
  }
}

void AddSamples(const ProfilePage& page, ProfileData& profile) {
  const uint32_t samples = std::min(__atomic_load_n(&page.samples, __ATOMIC_ACQUIRE), kProfileSamples);
  for (uint32_t i = 0; i < samples; ++i) {
    const ProfileSample sample = page.sample[i];
    if (sample.address == 0 || sample.stack >= profile.stacks.size()) continue;
    const double counted = static_cast<double>(std::max<uint64_t>(sample.counted, 1));
    const double blocks = -1 / std::expm1(-counted / static_cast<double>(profile.interval));
    StackFigures& figures = profile.stacks[sample.stack].figures;
    figures.live_blocks += blocks;
    figures.live_bytes += blocks * static_cast<double>(sample.bytes);
    figures.pinned_bytes += blocks * sample.pinned;
    ++profile.samples;
  }
}

ProfileData Read(const ProfilePage& page) {
  ProfileData profile;
  profile.pid = page.pid;
  profile.interval = std::max<uint64_t>(page.interval, 1);
  profile.start_ms = page.start_ms;
  profile.update_ms = page.update_ms;
  profile.dropped = page.dropped;
  profile.stacks.resize(std::min(__atomic_load_n(&page.stacks, __ATOMIC_ACQUIRE), kProfileStacks));
  profile.modules.assign(page.module,
                         page.module + std::min(__atomic_load_n(&page.modules, __ATOMIC_ACQUIRE), kProfileModules));
  for (ProfileModule& module : profile.modules) {
    module.path[sizeof module.path - 1] = 0;
    module.build_id_bytes = std::min<uint32_t>(module.build_id_bytes, sizeof module.build_id);
  }
  AddSamples(page, profile);
  AddFrames(page, profile);
  for (size_t i = 0; i < profile.stacks.size(); ++i) {
    StackFigures& figures = profile.stacks[i].figures;
    figures.allocated_blocks = page.stack[i].blocks;
    figures.allocated_bytes = page.stack[i].bytes;
    profile.total += figures;
  }
  std::erase_if(profile.stacks, [](const ProfiledStack& stack) { return stack.figures.allocated_blocks == 0; });
  std::stable_sort(profile.stacks.begin(), profile.stacks.end(), [](const ProfiledStack& a, const ProfiledStack& b) {
    return a.figures.live_bytes > b.figures.live_bytes;
  });
  return profile;
}

}  // namespace

ProfileData FindProfile(const std::string& target) {
  ProfileData profile = ReadProfileIfAny(ProfilePaths(target));
  if (profile.interval != 0) return profile;
  throw Failure(kNo, fmt::format("{} has no profile: start it by 'neap profile PID --start', 'neap run --profile -- "
                                 "CMD', or with NEAP_PROFILE=1",
                                 target));
}

ProfileData ReadProfileIfAny(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    if (const std::optional<MappedProfile> mapped = MappedProfile::Open(path)) return Read(mapped->page());
  }
  return {};
}

std::string ProfileWords(const ProfileData& profile) {
  const auto bytes = [](double figure) { return FormatBytes(static_cast<uint64_t>(figure)); };
  std::string text =
      fmt::format("live {}, pinned {}, allocated {} since the start; {} samples of live blocks, one in {}",
                  bytes(profile.total.live_bytes), bytes(profile.total.pinned_bytes),
                  bytes(profile.total.allocated_bytes), profile.samples, FormatBytes(profile.interval));
  if (profile.dropped > 0) text += fmt::format("; {} found no room", profile.dropped);
  return text;
}

nlohmann::ordered_json FramesJson(const ProfileData& profile) {
  struct Node {
    StackFigures figures;
    std::map<std::string, Node> children;

    bool IsWorthShowing(const StackFigures& whole) const {
      return figures.live_bytes > whole.live_bytes / 1000 || figures.allocated_bytes > whole.allocated_bytes / 1000 ||
             figures.pinned_bytes > whole.pinned_bytes / 1000;
    }
    nlohmann::ordered_json Json(const std::string& name, const StackFigures& whole) const {
      auto inner = nlohmann::ordered_json::array();
      for (const auto& [child_name, child] : children) {
        if (child.IsWorthShowing(whole)) inner.push_back(child.Json(child_name, whole));
      }
      return {{"name", Printable(name)},
              {"live", static_cast<uint64_t>(figures.live_bytes)},
              {"allocated", static_cast<uint64_t>(figures.allocated_bytes)},
              {"pinned", static_cast<uint64_t>(figures.pinned_bytes)},
              {"children", inner}};
    }
  };
  Node root;
  for (const ProfiledStack& stack : profile.stacks) {
    Node* node = &root;
    node->figures += stack.figures;
    for (size_t i = stack.frames.size(); i-- > 0;) {
      node = &node->children[FrameName(profile, profile.frames[stack.frames[i]])];
      node->figures += stack.figures;
    }
  }
  return root.Json("all", profile.total);
}

std::string FrameName(const ProfileData& profile, const ProfiledFrame& frame) {
  if (!frame.function.empty()) return frame.function;
  if (frame.module < 0) return fmt::format("[{:#x}]", frame.address);
  const ProfileModule& module = profile.modules[static_cast<size_t>(frame.module)];
  const std::string_view path = module.path;
  return fmt::format("[{}+{:#x}]", path.substr(path.rfind('/') + 1), frame.address - module.begin + module.offset);
}

}  // namespace neap::command
