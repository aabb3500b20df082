// top.cc: `neap top`, the terminal: keys in, lines of top_view.h out. ncurses is on every system and works over ssh.
#include <fmt/format.h>
#include <locale.h>
#include <unistd.h>

#define NCURSES_NOMACROS
#include <ncurses.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>

#include "tools/neap/commands.h"
#include "tools/neap/failure.h"
#include "tools/neap/pages.h"
#include "tools/neap/top_view.h"

namespace neap::command {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kEvery = std::chrono::seconds(1);
constexpr int kEscape = 27, kEnter = '\n', kBackspace = 127;

class Screen {
 public:
  Screen() {
    setlocale(LC_ALL, "");
    if (newterm(nullptr, stdout, stdin) == nullptr) {
      throw Failure(kBadCall, "this terminal cannot be used: set TERM, or take 'neap stat' and 'neap export'");
    }
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    set_escdelay(25);
    curs_set(0);
  }
  ~Screen() { endwin(); }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  static size_t width() { return static_cast<size_t>(std::max(1, getmaxx(stdscr))); }
  static size_t height() { return static_cast<size_t>(std::max(1, getmaxy(stdscr))); }

  static void Draw(const std::vector<std::string>& lines, int highlight) {
    erase();
    for (int i = 0; i < static_cast<int>(lines.size()); ++i) {
      const bool marked = i == highlight || i + 1 == static_cast<int>(lines.size());
      if (marked) attron(i == highlight ? A_REVERSE : A_DIM);
      mvaddstr(i, 0, lines[static_cast<size_t>(i)].c_str());
      if (marked) attroff(A_REVERSE | A_DIM);
    }
    refresh();
  }
  // A key, or nothing until then.
  static int Key(Clock::time_point until) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    timeout(static_cast<int>(std::max<int64_t>(0, left)));
    return getch();
  }
};

// What is typed after "/"; the list follows it.
struct Filter {
  bool open = false;

  void Take(int key, std::string& text) {
    if (key == kEnter || key == kEscape) {
      open = false;
      if (key == kEscape) text.clear();
    } else if (key == KEY_BACKSPACE || key == kBackspace || key == '\b') {
      if (!text.empty()) text.pop_back();
    } else if (key >= ' ' && key < kBackspace) {
      text += static_cast<char>(key);
    }
  }
};

// False: quit.
bool Obey(int key, const std::vector<TopRow>& rows, size_t page_lines, TopChoices& choices, Filter& filter) {
  if (filter.open) {
    filter.Take(key, choices.filter);
    return true;
  }
  const bool in_detail = !choices.detail.empty();
  const size_t last = in_detail ? SIZE_MAX : rows.empty() ? 0 : rows.size() - 1;
  const auto move = [&](int64_t by) {
    const auto to = static_cast<int64_t>(std::min<size_t>(choices.selected, 1u << 20)) + by;
    choices.selected = std::min(static_cast<size_t>(std::max<int64_t>(0, to)), last);
  };
  switch (key) {
    case 'q':
    case kEscape:
      if (!in_detail) return key != 'q';
      choices.detail.clear();
      choices.selected = 0;
      return true;
    case KEY_UP:
    case 'k':
      move(-1);
      return true;
    case KEY_DOWN:
    case 'j':
      move(1);
      return true;
    case KEY_PPAGE:
      move(-static_cast<int64_t>(page_lines));
      return true;
    case KEY_NPAGE:
    case ' ':
      move(static_cast<int64_t>(page_lines));
      return true;
    case kEnter:
    case KEY_ENTER:
      if (in_detail || rows.empty()) return true;
      choices.detail = rows[choices.selected].key;
      choices.selected = 0;
      return true;
    case 's':
      choices.sort = static_cast<TopSort>((static_cast<size_t>(choices.sort) + 1) % kTopSorts);
      return true;
    case 'g':
      if (!in_detail) choices.by_cgroup = !choices.by_cgroup;
      return true;
    case '/':
      filter.open = !in_detail;
      return true;
    default:
      return true;
  }
}

int Top(std::optional<pid_t> pid) {
  if (isatty(STDIN_FILENO) == 0 || isatty(STDOUT_FILENO) == 0) {
    throw Failure(kBadCall, "needs a terminal: take 'neap stat PID' for one reading, 'neap export' for all processes");
  }
  TopChoices choices;
  if (pid) {
    PageView::OfProcess(*pid, Access::kRead);
    choices.detail = std::to_string(*pid);
  }
  const Screen screen;
  Filter filter;
  for (;;) {
    const std::vector<StatsPage> pages = RunningPages();
    const Clock::time_point next = Clock::now() + kEvery;
    int key = ERR;
    do {
      const std::vector<TopRow> rows = TopRows(pages, choices);
      const auto row = std::find_if(rows.begin(), rows.end(), [&](const TopRow& r) { return r.key == choices.detail; });
      if (row == rows.end()) choices.detail.clear();
      if (choices.detail.empty() && choices.selected >= rows.size())
        choices.selected = rows.empty() ? 0 : rows.size() - 1;
      int highlight = -1;
      std::vector<std::string> lines = choices.detail.empty()
                                           ? TopList(rows, choices, Screen::width(), Screen::height(), &highlight)
                                           : TopDetail(*row, choices, Screen::width(), Screen::height());
      if (filter.open) lines.back() = fmt::format("show those with: {}_", choices.filter);
      Screen::Draw(lines, highlight);
      key = Screen::Key(next);
      if (key != ERR && !Obey(key, rows, Screen::height() - 3, choices, filter)) return kDone;
    } while (key != ERR);
  }
}

}  // namespace

void AddTop(CLI::App& app, int* exit_code) {
  auto pid = std::make_shared<std::optional<pid_t>>();
  CLI::App* top = app.add_subcommand("top", "A live table of the processes on neap of this container");
  top->add_option("PID", *pid, "Show this process alone at first")->type_name("");
  top->footer(
      "Columns: the limit of the cgroup that binds; anonymous memory of the process; of it live, cached and dirty "
      "(neap)\n"
      "and foreign (not mapped by neap); PSI: share of the time in which tasks of the cgroup waited for memory; OOM "
      "IN:\n"
      "until the limit is reached at the pace of the last half minute.\n\n"
      "Exit codes: 0 quit; 1 the process is not on neap or keeps no page; 2 bad call, or no terminal; 3 no such "
      "process.\n\n"
      "Example: neap top");
  top->callback([pid, exit_code] { *exit_code = Top(*pid); });
}

}  // namespace neap::command
