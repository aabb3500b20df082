// type_test.cc: facts about types.
#include "engine/core/type.h"

#include <gtest/gtest.h>

#include "engine/core/column.h"

namespace neap::engine {
namespace {

TEST(Type, DecimalsUpToEighteenDigitsLieIn64Bits) {
  EXPECT_EQ(Type::Decimal(18, 2).physical(), Physical::kInt64);
  EXPECT_EQ(Type::Decimal(19, 2).physical(), Physical::kInt128);
  EXPECT_EQ(Type::Decimal(15, 2).Name(), "decimal(15,2)");
}

TEST(View, ShortOnesLieInPlaceAndLongOnesCompareByBytes) {
  const std::string a = "twelve bytes", b = "thirteen byte";
  EXPECT_TRUE(View(a).is_inline());
  EXPECT_FALSE(View(b).is_inline());
  EXPECT_TRUE(View(b) == View(std::string("thirteen") + " byte"));
  EXPECT_TRUE(View(b) < View(a));
  EXPECT_FALSE(View("ab") == View(std::string_view("ab\0", 3)));
}

}  // namespace
}  // namespace neap::engine
