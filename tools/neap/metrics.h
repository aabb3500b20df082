// metrics.h: the ledgers of processes as metrics that Prometheus reads.
#pragma once

#include <string>
#include <vector>

#include "alloc/stats_page.h"

namespace neap::command {

enum class MetricsFormat {
  kText,         // Prometheus's text format 0.0.4: what a node exporter's textfile collector takes
  kOpenMetrics,  // 1.0
};

// Values in base units: bytes, seconds, ratios. Each process is told by its labels pid and command.
std::string MetricsText(const std::vector<StatsPage>& pages, MetricsFormat format);

}  // namespace neap::command
