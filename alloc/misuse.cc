// misuse.cc: see misuse.h. Formats without stdio, which may allocate.
#include "alloc/misuse.h"

#include "alloc/os.h"
#include "alloc/page_map.h"

namespace neap {
namespace {

class Line {
 public:
  Line() { Text("neap: "); }
  Line& Text(const char* text) {
    while (*text != 0 && length_ < sizeof(buffer_) - 1) buffer_[length_++] = *text++;
    return *this;
  }
  // What is before the "=" of an environment's variable.
  Line& Name(const char* variable) {
    while (*variable != '=' && *variable != 0 && length_ < sizeof(buffer_) - 1) buffer_[length_++] = *variable++;
    return *this;
  }
  Line& Number(size_t value) { return Digits(value, 10); }
  Line& Address(const void* address) {
    Text("0x");
    return Digits(reinterpret_cast<uintptr_t>(address), 16);
  }
  void Write() {
    buffer_[length_++] = '\n';
    Os::WriteError(buffer_, length_);
  }

 private:
  Line& Digits(uintptr_t value, uintptr_t base) {
    char digits[24];
    size_t count = 0;
    do {
      digits[count++] = "0123456789abcdef"[value % base];
      value /= base;
    } while (value != 0);
    while (count > 0 && length_ < sizeof(buffer_) - 1) buffer_[length_++] = digits[--count];
    return *this;
  }

  char buffer_[400];
  size_t length_ = 0;
};

}  // namespace

void Misuse::DoubleFree(const void* block, size_t block_size) {
  Line().Text("double free of ").Address(block).Text(", a block of ").Number(block_size).Text(" bytes").Write();
  Os::Abort();
}

void Misuse::NotABlock(const void* address) {
  Line line;
  line.Text("free or realloc of ").Address(address);
  const Span* span = PageMap::Find(address);
  if (span->kind == SpanKind::kSlab) {
    const SizeClass& row = kSizeClasses[span->size_class];
    const size_t offset = reinterpret_cast<uintptr_t>(address) - static_cast<const Slab*>(span)->start;
    line.Text(", which is ")
        .Number(offset % row.size)
        .Text(" bytes inside a block of ")
        .Number(row.size)
        .Text(" bytes");
  } else if (span->kind == SpanKind::kLarge) {
    line.Text(", which is inside a large block that starts at ")
        .Address(reinterpret_cast<void*>(static_cast<const LargeSpan*>(span)->start));
  } else if (PageMap::InWindow(address)) {
    line.Text(", where no block starts: freed already, or inside a large block");
  } else {
    line.Text(", which no allocation of this process returned");
  }
  line.Write();
  Os::Abort();
}

void Misuse::WrongSize(const void* block, size_t block_size, size_t claimed, size_t alignment) {
  Line line;
  line.Text("sized free of ").Address(block).Text(" as ").Number(claimed).Text(" bytes");
  if (alignment != 0) line.Text(" aligned to ").Number(alignment);
  line.Text(", but it is a block of ").Number(block_size).Text(" bytes").Write();
  Os::Abort();
}

void Misuse::Overflow(const void* block, size_t block_size, size_t requested) {
  Line line;
  line.Text("write behind the end of ").Address(block).Text(", a block of ").Number(block_size).Text(" bytes (");
  if (requested != SIZE_MAX)
    line.Text("requested: ").Number(requested);
  else
    line.Text("the requested size is overwritten");
  line.Text("), found when it was used or freed").Write();
  Os::Abort();
}

void Misuse::WriteAfterFree(const void* block, size_t block_size) {
  Line line;
  line.Text("write to ")
      .Address(block)
      .Text(" after it was freed, a block of ")
      .Number(block_size)
      .Text(" bytes")
      .Write();
  Os::Abort();
}

void Misuse::BadSetting(const char* name, const char* value, const char* range, const char* used) {
  Line().Text(name).Text("=").Text(value).Text(" is not ").Text(range).Text("; using ").Text(used).Write();
}

void Misuse::UnknownSetting(const char* variable) {
  Line().Name(variable).Text(" is no setting of neap; see neap run --help").Write();
}

}  // namespace neap
