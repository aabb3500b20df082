// numa_test.cc: blocks live on the node of the thread that asked for them, and go home when they are freed elsewhere.
// Preloaded with neap in the VM with several nodes; asks the kernel where each page is.
#include <errno.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Node {
  int number;
  cpu_set_t cpus;
};

std::vector<Node> Nodes() {
  std::vector<Node> nodes;
  for (int number = 0; number < 64; ++number) {
    std::ifstream list("/sys/devices/system/node/node" + std::to_string(number) + "/cpulist");
    int first, last;
    if (!(list >> first)) continue;
    char dash = 0;
    if (!(list >> dash >> last) || dash != '-') last = first;
    Node node{number, {}};
    CPU_ZERO(&node.cpus);
    for (int cpu = first; cpu <= last; ++cpu) CPU_SET(static_cast<size_t>(cpu), &node.cpus);
    nodes.push_back(node);
  }
  return nodes;
}

// Runs on the node's CPUs until it returns.
template <class Body>
void On(const Node& node, Body body) {
  std::thread([&] {
    ASSERT_EQ(sched_setaffinity(0, sizeof(node.cpus), &node.cpus), 0);
    body();
  }).join();
}

struct Block {
  char* bytes;
  size_t size;
};

// A CPU's cache takes what is freed on that CPU, wherever it belongs, and hands it out there again: that much may be
// elsewhere, and no more.
constexpr size_t kStrayBytes = 256 * 1024;

// The node of each block, by its middle page; -ENOENT where that is not resident.
void ExpectOn(const Node& node, const std::vector<Block>& blocks, const char* what) {
  std::vector<void*> pages;
  for (const Block& block : blocks) pages.push_back(block.bytes + block.size / 2);
  std::vector<int> status(pages.size());
  ASSERT_EQ(syscall(SYS_move_pages, 0, pages.size(), pages.data(), nullptr, status.data(), 0), 0) << strerror(errno);
  std::map<int, size_t> bytes;
  for (size_t i = 0; i < blocks.size(); ++i) bytes[status[i]] += blocks[i].size;
  size_t elsewhere = 0;
  std::string seen;
  for (auto [number, count] : bytes) {
    if (number != node.number) elsewhere += count;
    seen += " " + std::to_string(count) + " on " + std::to_string(number);
  }
  EXPECT_LE(elsewhere, kStrayBytes) << what << ", node " << node.number << ", blocks of " << blocks[0].size << ":"
                                    << seen;
}

constexpr size_t kSizes[] = {64, 1000, 9000, 70'000, 3'000'000};

std::vector<Block> Take(size_t size, bool touch) {
  std::vector<Block> blocks;
  for (size_t got = 0; got < (size_t{8} << 20); got += size) {
    blocks.push_back({static_cast<char*>(malloc(size)), size});
    if (touch) memset(blocks.back().bytes, 1, size);
  }
  return blocks;
}

void Give(const std::vector<Block>& blocks) {
  for (const Block& block : blocks) free(block.bytes);
}

class Numa : public testing::Test {
 protected:
  void SetUp() override {
    nodes_ = Nodes();
    if (nodes_.size() < 2) GTEST_SKIP() << "one node";
    ASSERT_NE(getenv("LD_PRELOAD"), nullptr) << "to be run on neap";
  }
  std::vector<Node> nodes_;
};

TEST_F(Numa, BlocksAreOnTheNodeThatAsked) {
  for (size_t size : kSizes) {
    for (const Node& node : nodes_) {
      std::vector<Block> blocks;
      On(node, [&] { blocks = Take(size, true); });
      ExpectOn(node, blocks, "touched by its owner");
      Give(blocks);
    }
  }
}

// The span's home decides, not the thread that happens to touch first.
TEST_F(Numa, FirstTouchFromElsewhereStaysHome) {
  for (size_t size : {size_t{70'000}, size_t{3'000'000}}) {
    const Node &home = nodes_[0], &away = nodes_[1];
    std::vector<Block> blocks;
    On(home, [&] { blocks = Take(size, false); });
    On(away, [&] {
      for (const Block& block : blocks) memset(block.bytes, 1, block.size);
    });
    ExpectOn(home, blocks, "touched from elsewhere");
    Give(blocks);
  }
}

// What node 1 freed of node 0's is not handed out on node 1.
TEST_F(Numa, FreedElsewhereGoesHome) {
  for (size_t size : kSizes) {
    for (size_t n = 0; n < nodes_.size(); ++n) {
      const Node &home = nodes_[n], &away = nodes_[(n + 1) % nodes_.size()];
      std::vector<Block> blocks;
      On(home, [&] { blocks = Take(size, true); });
      On(away, [&] {
        Give(blocks);
        blocks = Take(size, true);
      });
      ExpectOn(away, blocks, "after frees of another node's blocks");
      On(home, [&] {
        std::vector<Block> again = Take(size, true);
        ExpectOn(home, again, "home again");
        Give(again);
      });
      Give(blocks);
    }
  }
}

TEST_F(Numa, ManyThreadsOnAllNodesAtOnce) {
  std::vector<std::vector<Block>> blocks(nodes_.size());
  std::vector<std::thread> threads;
  for (size_t n = 0; n < nodes_.size(); ++n) {
    threads.emplace_back([&, n] {
      ASSERT_EQ(sched_setaffinity(0, sizeof(cpu_set_t), &nodes_[n].cpus), 0);
      for (int round = 0; round < 3; ++round) {
        for (size_t size : kSizes) {
          std::vector<Block> taken = Take(size, true);
          if (round < 2) {
            Give(taken);
          } else {
            blocks[n].insert(blocks[n].end(), taken.begin(), taken.end());
          }
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t n = 0; n < nodes_.size(); ++n) {
    ExpectOn(nodes_[n], blocks[n], "all at once");
    Give(blocks[n]);
  }
}

}  // namespace
