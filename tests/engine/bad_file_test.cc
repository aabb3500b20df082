// Parquet files that are none, cut off, or damaged: an error of one line, or rows; never a crash, and never the memory
// of more than a file can hold.
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "engine/core/error.h"
#include "tests/engine/parquet_fixture.h"

namespace neap::engine {
namespace {

std::string Bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void Write(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

// The error's text; "" where the file can be read.
std::string ErrorOf(const std::string& path) {
  try {
    Scanned(*Table::Open({path}));
    return "";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_FALSE(text.empty());
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    return text;
  }
}

TEST(BadFile, IsNotThereIsEmptyOrIsNone) {
  const TestFolder folder;
  EXPECT_NE(ErrorOf(folder.File("missing.parquet")).find("missing.parquet"), std::string::npos);
  const std::string none = folder.File("none.parquet");
  for (const std::string& bytes : {std::string(), std::string("PAR1"), std::string("PAR1PAR1"),
                                   std::string("a text, which is not Parquet at all\n"), std::string(5000, '\0')}) {
    Write(none, bytes);
    EXPECT_NE(ErrorOf(none).find("none.parquet"), std::string::npos) << bytes.size();
  }
}

class Damaged : public testing::TestWithParam<int> {
 protected:
  std::string MakeFile() const {
    parquet::WriterProperties::Builder builder;
    const parquet::Compression::type codecs[] = {parquet::Compression::UNCOMPRESSED, parquet::Compression::SNAPPY,
                                                 parquet::Compression::ZSTD, parquet::Compression::LZ4,
                                                 parquet::Compression::GZIP};
    builder.compression(codecs[GetParam() % 5])->data_pagesize(2000)->write_batch_size(100);
    if (GetParam() % 2 == 1) builder.data_page_version(parquet::ParquetDataPageVersion::V2);
    if (GetParam() % 3 == 1) builder.disable_dictionary();
    if (GetParam() % 3 == 2) builder.enable_write_page_index();
    const auto table = RandomTable(static_cast<uint64_t>(GetParam()), 900, static_cast<Nulls>(GetParam() % 3));
    WriteParquet(*table, folder_.File("whole.parquet"), builder.build(), 400);
    return Bytes(folder_.File("whole.parquet"));
  }

  // Half a second of random damage, or twenty.
  void ForAWhile(const std::function<void(std::string& bytes, std::mt19937_64& random)>& damage) const {
    const std::string whole = MakeFile();
    ASSERT_EQ(ErrorOf(folder_.File("whole.parquet")), "");
    std::mt19937_64 random(static_cast<uint64_t>(GetParam()));
    const auto time = std::chrono::milliseconds(std::getenv("NEAP_TEST_ALL") != nullptr ? 20'000 : 400);
    const auto end = std::chrono::steady_clock::now() + time;
    int refused = 0;
    do {
      std::string bytes = whole;
      damage(bytes, random);
      Write(folder_.File("damaged.parquet"), bytes);
      if (!ErrorOf(folder_.File("damaged.parquet")).empty()) ++refused;
    } while (refused == 0 || std::chrono::steady_clock::now() < end);
  }

 private:
  TestFolder folder_;
};

TEST_P(Damaged, CutOff) {
  ForAWhile([](std::string& bytes, std::mt19937_64& random) { bytes.resize(random() % bytes.size()); });
}

TEST_P(Damaged, FlippedBits) {
  ForAWhile([](std::string& bytes, std::mt19937_64& random) {
    // The footer is small, and most of what is read depends on it.
    const size_t from = random() % 2 == 0 ? 0 : bytes.size() - std::min<size_t>(bytes.size(), 8000);
    for (size_t flips = 1 + random() % 8; flips-- > 0;) {
      bytes[from + random() % (bytes.size() - from)] ^= static_cast<char>(1 << random() % 8);
    }
  });
}

TEST_P(Damaged, PiecesThatWereMoved) {
  ForAWhile([](std::string& bytes, std::mt19937_64& random) {
    const size_t size = 1 + random() % 3000;
    const size_t from = random() % (bytes.size() - size), to = random() % (bytes.size() - size);
    bytes.replace(to, size, std::string(bytes, from, size));
  });
}

INSTANTIATE_TEST_SUITE_P(Ways, Damaged, testing::Range(0, 6));

}  // namespace
}  // namespace neap::engine
