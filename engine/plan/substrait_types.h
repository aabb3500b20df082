// substrait_types.h: Substrait's types and literals as the engine's. Whatever the engine has no type for is refused by
// name. For the files that read plans alone: it drags in protobuf.
#pragma once

#include <string>

#include "engine/core/error.h"
#include "engine/plan/expression.h"
#include "substrait/algebra.pb.h"
#include "substrait/type.pb.h"

namespace neap::engine {

// An Error of kind kPlan which says that the plan holds what the engine cannot do.
[[noreturn]] void RefusePlan(const std::string& what);

// The name of the set member of a oneof: "hash_join".
std::string OneofName(const google::protobuf::Message& message, const char* oneof);

// Refuses a message that has fields which this version of Substrait does not know, in whatever depth, and extensions
// that change what the plan means.
void RefuseUnknownFields(const google::protobuf::Message& message);

struct SubstraitType {
  Type type;
  bool nullable = true;
};

SubstraitType ReadType(const substrait::Type& type);
Expression ReadLiteral(const substrait::Expression::Literal& literal);

}  // namespace neap::engine
