// export.cc: `neap export`, the ledgers of all processes of the container as metrics, over HTTP or into a file.
#include <errno.h>
#include <fmt/format.h>
#include <httplib.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "tools/neap/commands.h"
#include "tools/neap/failure.h"
#include "tools/neap/metrics.h"
#include "tools/neap/pages.h"

namespace neap::command {
namespace {

struct ExportOptions {
  std::string listen;
  std::string textfile;
};

struct Address {
  std::string host;
  int port;
};

Address ParseAddress(const std::string& text) {
  const size_t colon = text.rfind(':');
  const std::string port = colon == text.npos ? "" : text.substr(colon + 1);
  if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != port.npos || std::stoi(port) > 65535) {
    throw Failure(kBadCall, fmt::format("--listen {}: say HOST:PORT, such as 127.0.0.1:9464", text));
  }
  std::string host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return {host, std::stoi(port)};
}

// Written beside and renamed: who reads it sees one state or the next.
void WriteTextfile(const std::string& path) {
  const std::string beside = fmt::format("{}.{}", path, getpid());
  std::ofstream file(beside, std::ios::binary | std::ios::trunc);
  file << MetricsText(RunningPages(), MetricsFormat::kText);
  file.close();
  if (!file || rename(beside.c_str(), path.c_str()) != 0) {
    const std::string why = strerror(errno);
    unlink(beside.c_str());
    throw Failure(kNoAccess, fmt::format("cannot write {}: {}", path, why));
  }
}

void Serve(const Address& address) {
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGINT);
  sigaddset(&ending, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);

  httplib::Server server;
  server.new_task_queue = [] { return new httplib::ThreadPool(2); };
  server.Get("/metrics", [](const httplib::Request& request, httplib::Response& response) {
    const bool open_metrics =
        request.get_header_value("Accept").find("application/openmetrics-text") != std::string::npos;
    response.set_content(MetricsText(RunningPages(), open_metrics ? MetricsFormat::kOpenMetrics : MetricsFormat::kText),
                         open_metrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                      : "text/plain; version=0.0.4; charset=utf-8");
  });
  server.Get("/", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("neap export: the metrics are at /metrics\n", "text/plain");
  });
  const int port = address.port == 0 ? server.bind_to_any_port(address.host.c_str()) : address.port;
  if (port < 0 || (address.port != 0 && !server.bind_to_port(address.host.c_str(), port))) {
    throw Failure(kNoAccess, fmt::format("cannot listen on {}:{}: {}", address.host, address.port, strerror(errno)));
  }
  fmt::print("http://{}:{}/metrics\n",
             address.host.find(':') == std::string::npos ? address.host : "[" + address.host + "]", port);
  fflush(stdout);
  std::thread waiting([&] {
    int signal = 0;
    sigwait(&ending, &signal);
    server.stop();
  });
  server.listen_after_bind();
  waiting.join();
}

}  // namespace

void AddExport(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* metrics =
      app.add_subcommand("export", "Metrics of all processes on neap of this container, for Prometheus");
  CLI::Option* listen =
      metrics->add_option("--listen", options->listen, "Serve them over HTTP until stopped; port 0: any free one")
          ->type_name("HOST:PORT");
  metrics->add_option("--textfile", options->textfile, "Write them once, for a node exporter's textfile collector")
      ->type_name("FILE")
      ->excludes(listen);
  metrics->footer(
      "GET /metrics answers in OpenMetrics 1.0 where that is accepted, else in the text format 0.0.4. The processes\n"
      "are read from their pages of statistics in /dev/shm and are not touched.\n\n"
      "Exit codes: 0 written, or stopped by a signal; 2 bad call; 3 cannot listen or write.\n\n"
      "Example: neap export --listen 127.0.0.1:9464");
  metrics->callback([options, exit_code] {
    if (options->listen.empty() && options->textfile.empty()) {
      fmt::print("{}", MetricsText(RunningPages(), MetricsFormat::kText));
    } else if (!options->textfile.empty()) {
      WriteTextfile(options->textfile);
    } else {
      Serve(ParseAddress(options->listen));
    }
    *exit_code = kDone;
  });
}

}  // namespace neap::command
