// profile.cc: `neap profile`, which stacks hold a process's memory, for pprof or as folded stacks.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <memory>
#include <protozero/pbf_writer.hpp>
#include <unordered_map>

#include "tools/neap/bytes.h"
#include "tools/neap/commands.h"
#include "tools/neap/failure.h"
#include "tools/neap/output.h"
#include "tools/neap/pages.h"
#include "tools/neap/profile_data.h"

namespace neap::command {
namespace {

struct ProfileOptions {
  std::string target;
  std::string output;
  std::string folded;
  bool start = false;
};

int64_t Rounded(double figure) { return std::llround(figure); }

// The field numbers of perftools.profiles.Profile, https://github.com/google/pprof/blob/main/proto/profile.proto
namespace pprof {
enum Profile {
  kSampleType = 1,
  kSample,
  kMapping,
  kLocation,
  kFunction,
  kStrings,
  kTime = 9,
  kDuration,
  kPeriodType,
  kPeriod,
  kComment,
  kDefaultSampleType
};
enum ValueType { kType = 1, kUnit };
enum Sample { kLocations = 1, kValues };
enum Mapping { kMappingId = 1, kStart, kLimit, kOffset, kFile, kBuildId, kHasFunctions };
enum Location { kLocationId = 1, kLocationMapping, kAddress, kLine };
enum Line { kLineFunction = 1 };
enum Function { kFunctionId = 1, kName, kSystemName };
}  // namespace pprof

class PprofWriter {
 public:
  explicit PprofWriter(const ProfileData& profile) : profile_(profile) { StringNumber(""); }

  std::string Write() {
    for (const char* type : {"alloc_objects", "alloc_space", "inuse_objects", "inuse_space", "pinned_space"}) {
      AddType(pprof::kSampleType, type, std::string_view(type).ends_with("objects") ? "count" : "bytes");
    }
    for (const ProfiledStack& stack : profile_.stacks) AddSample(stack);
    for (size_t i = 0; i < profile_.modules.size(); ++i) AddMapping(i);
    for (size_t i = 0; i < profile_.frames.size(); ++i) AddLocation(i);
    profile_writer_.add_int64(pprof::kTime, static_cast<int64_t>(profile_.update_ms) * 1'000'000);
    profile_writer_.add_int64(pprof::kDuration,
                              static_cast<int64_t>(profile_.update_ms - profile_.start_ms) * 1'000'000);
    AddType(pprof::kPeriodType, "space", "bytes");
    profile_writer_.add_int64(pprof::kPeriod, static_cast<int64_t>(profile_.interval));
    profile_writer_.add_int64(pprof::kDefaultSampleType, StringNumber("inuse_space"));
    for (const std::string& text : strings_) profile_writer_.add_string(pprof::kStrings, text);
    return std::move(bytes_);
  }

 private:
  int64_t StringNumber(const std::string& text) {
    const auto [at, added] = numbers_.try_emplace(text, static_cast<int64_t>(strings_.size()));
    if (added) strings_.push_back(text);
    return at->second;
  }

  void AddType(pprof::Profile field, const char* type, const char* unit) {
    protozero::pbf_writer writer(profile_writer_, field);
    writer.add_int64(pprof::kType, StringNumber(type));
    writer.add_int64(pprof::kUnit, StringNumber(unit));
  }

  void AddSample(const ProfiledStack& stack) {
    protozero::pbf_writer writer(profile_writer_, pprof::kSample);
    std::vector<uint64_t> locations(stack.frames.size());
    std::transform(stack.frames.begin(), stack.frames.end(), locations.begin(), [](uint32_t i) { return i + 1; });
    writer.add_packed_uint64(pprof::kLocations, locations.begin(), locations.end());
    const StackFigures& figures = stack.figures;
    const int64_t values[] = {Rounded(figures.allocated_blocks), Rounded(figures.allocated_bytes),
                              Rounded(figures.live_blocks), Rounded(figures.live_bytes), Rounded(figures.pinned_bytes)};
    writer.add_packed_int64(pprof::kValues, std::begin(values), std::end(values));
  }

  void AddMapping(size_t i) {
    const ProfileModule& module = profile_.modules[i];
    protozero::pbf_writer writer(profile_writer_, pprof::kMapping);
    writer.add_uint64(pprof::kMappingId, i + 1);
    writer.add_uint64(pprof::kStart, module.begin);
    writer.add_uint64(pprof::kLimit, module.end);
    writer.add_uint64(pprof::kOffset, module.offset);
    writer.add_int64(pprof::kFile, StringNumber(module.path));
    std::string build_id;
    for (uint32_t b = 0; b < module.build_id_bytes; ++b) build_id += fmt::format("{:02x}", module.build_id[b]);
    writer.add_int64(pprof::kBuildId, StringNumber(build_id));
    writer.add_bool(pprof::kHasFunctions, true);
  }

  void AddLocation(size_t i) {
    const ProfiledFrame& frame = profile_.frames[i];
    const std::string name = FrameName(profile_, frame);
    const auto [function, added] = functions_.try_emplace(name, functions_.size() + 1);
    if (added) {
      protozero::pbf_writer writer(profile_writer_, pprof::kFunction);
      writer.add_uint64(pprof::kFunctionId, function->second);
      writer.add_int64(pprof::kName, StringNumber(name));
      writer.add_int64(pprof::kSystemName, StringNumber(name));
    }
    protozero::pbf_writer writer(profile_writer_, pprof::kLocation);
    writer.add_uint64(pprof::kLocationId, i + 1);
    if (frame.module >= 0) writer.add_uint64(pprof::kLocationMapping, static_cast<uint64_t>(frame.module) + 1);
    writer.add_uint64(pprof::kAddress, frame.address);
    protozero::pbf_writer line(writer, pprof::kLine);
    line.add_uint64(pprof::kLineFunction, function->second);
  }

  const ProfileData& profile_;
  std::string bytes_;
  protozero::pbf_writer profile_writer_{bytes_};
  std::vector<std::string> strings_;
  std::unordered_map<std::string, int64_t> numbers_;
  std::unordered_map<std::string, uint64_t> functions_;
};

double FigureOf(const StackFigures& figures, const std::string& kind) {
  return kind == "live" ? figures.live_bytes : kind == "allocated" ? figures.allocated_bytes : figures.pinned_bytes;
}

// "outermost;...;innermost bytes" in each line, as flamegraph.pl and speedscope read them.
std::string Folded(const ProfileData& profile, const std::string& kind) {
  std::map<std::string, double> lines;
  for (const ProfiledStack& stack : profile.stacks) {
    std::string line;
    for (size_t i = stack.frames.size(); i-- > 0;) {
      std::string name = FrameName(profile, profile.frames[stack.frames[i]]);
      std::replace(name.begin(), name.end(), ';', ':');
      line += (line.empty() ? "" : ";") + name;
    }
    lines[line.empty() ? "[unknown]" : line] += FigureOf(stack.figures, kind);
  }
  std::string text;
  for (const auto& [line, bytes] : lines) {
    if (Rounded(bytes) > 0) text += fmt::format("{} {}\n", line, Rounded(bytes));
  }
  return text;
}

int StartProfile(const std::string& target) {
  if (!IsPid(target)) throw Failure(kBadCall, "--start wants the PID of a process that runs, not a file");
  const PageView view = PageView::OfProcess(static_cast<pid_t>(std::stol(target)), Access::kWrite);
  if (!ReadProfileIfAny(ProfilePaths(target)).stacks.empty()) {
    throw Failure(kNo, fmt::format("{} has a profile already: read it without --start", target));
  }
  std::atomic_ref(view.shared().profile_request).store(kProfileInterval, std::memory_order_release);
  view.Ring();
  fmt::print("{}: samples what it allocates from now on, about once in {}\n", target, FormatBytes(kProfileInterval));
  return kDone;
}

int Profile(const ProfileOptions& options) {
  if (options.start) return StartProfile(options.target);
  const ProfileData profile = FindProfile(options.target);
  if (options.folded.empty()) {
    const std::string output = options.output.empty() ? "neap-profile.pb" : options.output;
    WriteWholeFile(output, PprofWriter(profile).Write(), kNoAccess);
    fmt::print("{}: {}\n", output, ProfileWords(profile));
  } else if (options.output.empty()) {
    fmt::print("{}", Folded(profile, options.folded));
  } else {
    WriteWholeFile(options.output, Folded(profile, options.folded), kNoAccess);
    fmt::print("{}: {}\n", options.output, ProfileWords(profile));
  }
  return kDone;
}

}  // namespace

void AddProfile(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<ProfileOptions>();
  CLI::App* profile = app.add_subcommand("profile", "Which stacks hold a process's memory, for pprof");
  profile->add_option("PID", options->target, kTargetHelp)->required()->type_name("PID|FILE");
  CLI::Option* start = profile->add_flag("--start", options->start, "Have a process that runs begin to sample now");
  profile->add_option("-o,--output", options->output, "The file to write (neap-profile.pb; folded stacks: stdout)")
      ->excludes(start);
  profile->add_option("--folded", options->folded, "Folded stacks in place of pprof's format: of which bytes")
      ->check(CLI::IsMember({"live", "allocated", "fragmentation"}))
      ->type_name("KIND")
      ->excludes(start);
  profile->footer(
      "The process samples its allocations if it was started by 'neap run --profile' or with NEAP_PROFILE=1, or from\n"
      "--start on. Of one that was killed its last profile is read, which stays beside its page of statistics.\n\n"
      "Sample types: inuse_space (live bytes; the default), inuse_objects, alloc_space and alloc_objects (since the\n"
      "profile's start), pinned_space (free bytes of the pages that the stack's blocks keep from being given back). "
      "All are\n"
      "estimates from the samples.\n\n"
      "Exit codes: 0 written or started; 1 the process has no profile, or with --start it has one; 2 bad call; 3 no "
      "such\n"
      "process or file, not ours to read, or the file cannot be written.\n\n"
      "Example: neap profile $(pidof python3) -o heap.pb && go tool pprof -top heap.pb");
  profile->callback([options, exit_code] { *exit_code = Profile(*options); });
}

}  // namespace neap::command
