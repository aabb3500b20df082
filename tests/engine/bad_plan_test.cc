// Plans that nobody would write: cut off, nested without end, and real ones with random changes. Each is refused in one
// line or runs; none may crash.
#include <google/protobuf/message.h>
#include <google/protobuf/reflection.h>

#include <limits>
#include <random>

#include "substrait/plan.pb.h"
#include "tests/engine/hostile.h"

namespace neap::engine {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Random changes of a message that keep it one.
class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  uint32_t Random(size_t below) { return static_cast<uint32_t>(random_() % below); }

  void Change(Message& root, const Message& other) {
    std::vector<Message*> all;
    Collect(root, &all);
    Message& message = *all[Random(all.size())];
    const auto* descriptor = message.GetDescriptor();
    if (descriptor->field_count() == 0) return;
    const Reflection& reflection = *message.GetReflection();
    std::vector<const FieldDescriptor*> fields;
    reflection.ListFields(message, &fields);
    const bool present = !fields.empty() && Random(5) != 0;
    const FieldDescriptor* field = present ? fields[Random(fields.size())]
                                           : descriptor->field(static_cast<int>(Random(descriptor->field_count())));
    if (present && Random(4) == 0) {
      reflection.ClearField(&message, field);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      Message* part =
          field->is_repeated() ? reflection.AddMessage(&message, field) : reflection.MutableMessage(&message, field);
      Replace(*part, Random(2) == 0 ? root : other);
    } else {
      SetScalar(message, reflection, field);
    }
  }

 private:
  static void Collect(Message& message, std::vector<Message*>* all) {
    all->push_back(&message);
    const Reflection& reflection = *message.GetReflection();
    std::vector<const FieldDescriptor*> fields;
    reflection.ListFields(message, &fields);
    for (const FieldDescriptor* field : fields) {
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
      if (!field->is_repeated()) {
        Collect(*reflection.MutableMessage(&message, field), all);
        continue;
      }
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        Collect(*reflection.MutableRepeatedMessage(&message, field, i), all);
      }
    }
  }

  // By one of the same type elsewhere.
  void Replace(Message& message, const Message& from) {
    const std::unique_ptr<Message> copy(from.New());
    copy->CopyFrom(from);
    std::vector<Message*> all;
    Collect(*copy, &all);
    std::erase_if(all, [&](const Message* one) { return one->GetDescriptor() != message.GetDescriptor(); });
    if (!all.empty()) message.CopyFrom(*all[Random(all.size())]);
  }

  void SetScalar(Message& message, const Reflection& reflection, const FieldDescriptor* field) {
    constexpr int64_t kNumbers[] = {0,
                                    1,
                                    2,
                                    -1,
                                    100,
                                    38,
                                    std::numeric_limits<int32_t>::max(),
                                    std::numeric_limits<int64_t>::min(),
                                    std::numeric_limits<int64_t>::max()};
    const int64_t number = kNumbers[Random(std::size(kNumbers))];
    const std::string text = Random(20) == 0 ? std::string(100'000, 'x') : std::string(Random(20), '\x7f');
    // Of a repeated field a further value.
    const auto set = [&](auto&& one, auto&& further) { field->is_repeated() ? further() : one(); };
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return set([&] { reflection.SetInt32(&message, field, static_cast<int32_t>(number)); },
                   [&] { reflection.AddInt32(&message, field, static_cast<int32_t>(number)); });
      case FieldDescriptor::CPPTYPE_INT64:
        return set([&] { reflection.SetInt64(&message, field, number); },
                   [&] { reflection.AddInt64(&message, field, number); });
      case FieldDescriptor::CPPTYPE_UINT32:
        return set([&] { reflection.SetUInt32(&message, field, static_cast<uint32_t>(number)); },
                   [&] { reflection.AddUInt32(&message, field, static_cast<uint32_t>(number)); });
      case FieldDescriptor::CPPTYPE_UINT64:
        return set([&] { reflection.SetUInt64(&message, field, static_cast<uint64_t>(number)); },
                   [&] { reflection.AddUInt64(&message, field, static_cast<uint64_t>(number)); });
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return set([&] { reflection.SetDouble(&message, field, 1e300); },
                   [&] { reflection.AddDouble(&message, field, 1e300); });
      case FieldDescriptor::CPPTYPE_FLOAT:
        return set([&] { reflection.SetFloat(&message, field, 1e30F); },
                   [&] { reflection.AddFloat(&message, field, 1e30F); });
      case FieldDescriptor::CPPTYPE_BOOL:
        return set([&] { reflection.SetBool(&message, field, number % 2 == 0); },
                   [&] { reflection.AddBool(&message, field, number % 2 == 0); });
      case FieldDescriptor::CPPTYPE_ENUM:
        return set([&] { reflection.SetEnumValue(&message, field, static_cast<int>(Random(12))); },
                   [&] { reflection.AddEnumValue(&message, field, static_cast<int>(Random(12))); });
      case FieldDescriptor::CPPTYPE_STRING:
        return set([&] { reflection.SetString(&message, field, text); },
                   [&] { reflection.AddString(&message, field, text); });
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return;
    }
  }

  std::mt19937 random_;
};

class BadPlan : public Hostile {
 protected:
  // Runs it if it can be run, for some batches. Returns whether it ran.
  bool Run(Session& session, const std::string& bytes, const std::string& notes) {
    try {
      const auto result = session.Execute({bytes, notes});
      ArrowArrayStream stream;
      result->Export(&stream);
      const auto reader = *arrow::ImportRecordBatchReader(&stream);
      for (int batches = 0; batches < 5; ++batches) {
        std::shared_ptr<arrow::RecordBatch> batch;
        const arrow::Status status = reader->ReadNext(&batch);
        if (!status.ok()) ExpectOneLine(result->Report().message);
        if (!status.ok() || batch == nullptr) break;
        EXPECT_TRUE(batch->ValidateFull().ok());
      }
      return true;
    } catch (const Error& error) {
      ExpectOneLine(error.what());
      return false;
    }
  }

  // A plan of many filters, one in the other.
  static std::string Nested(int levels) {
    substrait::Plan plan;
    plan.ParseFromString(Statements().back().plan);
    substrait::Rel* root = plan.mutable_relations(0)->mutable_root()->mutable_input();
    for (int i = 0; i < levels; ++i) {
      auto outer = std::make_unique<substrait::Rel>();
      outer->mutable_filter()->mutable_condition()->mutable_literal()->set_boolean(true);
      outer->mutable_filter()->mutable_input()->Swap(root);
      root->Swap(outer.get());
    }
    return plan.SerializeAsString();
  }

  static std::string DeepSum(int levels) {
    std::string sum = "n";
    for (int i = 0; i < levels; ++i) sum += " + g";
    return "SELECT count(" + sum + ") FROM t";
  }
};

TEST_F(BadPlan, NestedWithoutEnd) {
  const auto session = Make();
  EXPECT_TRUE(Run(*session, Nested(200), ""));
  EXPECT_FALSE(Run(*session, Nested(10'000), ""));
  EXPECT_TRUE(Run(*session, session->Plan(DeepSum(300)).front().plan, "mixed"));
}

TEST_F(BadPlan, CutOff) {
  const auto session = Make();
  for (const Statement& statement : Statements()) {
    for (size_t size = 0; size < statement.plan.size(); size += 1 + size / 10) {
      Run(*session, statement.plan.substr(0, size), statement.notes);
    }
  }
}

TEST_F(BadPlan, FlippedBits) {
  const auto session = Make({.memory = 4 << 20, .threads = 2, .spill_dir = folder_});
  Mutator random(1);
  for (int i = 0; i < 300 * Longer(30); ++i) {
    const Statement& statement = Statements()[random.Random(Statements().size())];
    std::string plan = statement.plan;
    for (uint32_t flips = 1 + random.Random(3); flips-- > 0;) {
      plan[random.Random(plan.size())] ^= static_cast<char>(1 << random.Random(8));
    }
    Run(*session, plan, statement.notes);
  }
}

TEST_F(BadPlan, RandomChanges) {
  const auto session = Make({.memory = 4 << 20, .threads = 2, .spill_dir = folder_});
  int ran = 0;
  for (int i = 0; i < 150 * Longer(80); ++i) {
    Mutator mutator(static_cast<uint32_t>(i));
    substrait::Plan plan, other;
    const Statement& statement = Statements()[mutator.Random(Statements().size())];
    ASSERT_TRUE(plan.ParseFromString(statement.plan));
    ASSERT_TRUE(other.ParseFromString(Statements()[mutator.Random(Statements().size())].plan));
    for (uint32_t changes = 1 + mutator.Random(3); changes-- > 0;) mutator.Change(plan, other);
    SCOPED_TRACE(i);
    ran += Run(*session, plan.SerializeAsString(), statement.notes) ? 1 : 0;
  }
  EXPECT_GT(ran, 10);
}

}  // namespace
}  // namespace neap::engine
