// engine.cc: the extension module neap._engine: sessions, results and the ledger for Python, by its stable ABI. What
// users see is neap/__init__.py.
//
// Whatever may wait for another thread lets go of Python's lock: that thread may be in a stream that is written in
// Python.
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <arrow/c/abi.h>
#include <string.h>

#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "alloc/neap.h"
#include "engine/neap_engine.h"

namespace {

using neap::engine::Error;
using neap::engine::ErrorKind;
using neap::engine::QueryReport;
using neap::engine::Result;
using neap::engine::Session;
using neap::engine::SessionOptions;
using neap::engine::Statement;

constexpr char kStreamName[] = "arrow_array_stream";

PyObject* g_error = nullptr;

struct Unref {
  void operator()(PyObject* object) const { Py_XDECREF(object); }
};
using Ref = std::unique_ptr<PyObject, Unref>;

// A Python error is set: it goes up through C++ as this.
struct PythonError {};

Ref Checked(PyObject* object) {
  if (object == nullptr) throw PythonError();
  return Ref(object);
}

class WithLock {
 public:
  WithLock() : state_(PyGILState_Ensure()) {}
  ~WithLock() { PyGILState_Release(state_); }
  WithLock(const WithLock&) = delete;
  WithLock& operator=(const WithLock&) = delete;

 private:
  PyGILState_STATE state_;
};

class WithoutLock {
 public:
  WithoutLock() : state_(PyEval_SaveThread()) {}
  ~WithoutLock() { PyEval_RestoreThread(state_); }
  WithoutLock(const WithoutLock&) = delete;
  WithoutLock& operator=(const WithoutLock&) = delete;

 private:
  PyThreadState* state_;
};

// A callable of Python's that the engine keeps, and lets go of on any thread.
class Callable {
 public:
  explicit Callable(PyObject* function) : function_(function) { Py_INCREF(function); }
  Callable(const Callable& other) : function_(other.function_) {
    const WithLock lock;
    Py_INCREF(function_);
  }
  Callable& operator=(const Callable&) = delete;
  ~Callable() {
    const WithLock lock;
    Py_DECREF(function_);
  }
  PyObject* get() const { return function_; }

 private:
  PyObject* function_;
};

const char* KindName(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kPlan:
      return "plan";
    case ErrorKind::kData:
      return "data";
    case ErrorKind::kSpill:
      return "spill";
    case ErrorKind::kMemory:
      return "memory";
    case ErrorKind::kCancelled:
      return "cancelled";
  }
  __builtin_unreachable();
}

void RaiseError(const Error& error) {
  const Ref made(PyObject_CallFunction(g_error, "s", error.what()));
  const Ref kind(PyUnicode_FromString(KindName(error.kind())));
  if (made == nullptr || kind == nullptr || PyObject_SetAttrString(made.get(), "kind", kind.get()) != 0) return;
  PyErr_SetObject(g_error, made.get());
}

// Runs f, which gives a new reference, and turns what it throws into an error of Python's.
template <class F>
PyObject* Guarded(F&& f) {
  try {
    return f();
  } catch (const PythonError&) {
    return nullptr;
  } catch (const Error& error) {
    RaiseError(error);
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

// What a callback of Python's raised, for the engine to end with.
[[noreturn]] void ThrowRaised(const char* what) {
  PyObject *type = nullptr, *value = nullptr, *trace = nullptr;
  PyErr_Fetch(&type, &value, &trace);
  const Ref owned[] = {Ref(type), Ref(value), Ref(trace)};
  const Ref text(PyObject_Str(value == nullptr ? type : value));
  const char* said = text == nullptr ? nullptr : PyUnicode_AsUTF8AndSize(text.get(), nullptr);
  std::string message = std::string(what) + ": " + (said == nullptr ? "it raised an error" : said);
  PyErr_Clear();
  throw Error(ErrorKind::kData, message);
}

std::string TextOf(PyObject* object) {
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(object, &size);
  if (text == nullptr) throw PythonError();
  return {text, static_cast<size_t>(size)};
}

std::string BytesOf(PyObject* object) {
  char* bytes = nullptr;
  Py_ssize_t size = 0;
  if (PyBytes_AsStringAndSize(object, &bytes, &size) != 0) throw PythonError();
  return {bytes, static_cast<size_t>(size)};
}

Ref TextList(const std::vector<std::string>& texts) {
  Ref list = Checked(PyList_New(0));
  for (const std::string& text : texts) {
    const Ref item = Checked(PyUnicode_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size())));
    if (PyList_Append(list.get(), item.get()) != 0) throw PythonError();
  }
  return list;
}

// ---- Results.

struct PyResult {
  PyObject_HEAD Result* result;
};

void DeleteResult(PyObject* self) {
  Result* result = reinterpret_cast<PyResult*>(self)->result;
  {
    const WithoutLock unlocked;
    delete result;
  }
  PyTypeObject* type = Py_TYPE(self);
  PyObject_Free(self);
  Py_DECREF(type);
}

void DeleteStream(PyObject* capsule) {
  auto* stream = static_cast<ArrowArrayStream*>(PyCapsule_GetPointer(capsule, kStreamName));
  if (stream->release != nullptr) {
    const WithoutLock unlocked;
    stream->release(stream);
  }
  delete stream;
}

PyObject* ResultStream(PyObject* self, PyObject*) {
  return Guarded([&] {
    auto stream = std::make_unique<ArrowArrayStream>();
    reinterpret_cast<PyResult*>(self)->result->Export(stream.get());
    PyObject* capsule = PyCapsule_New(stream.get(), kStreamName, DeleteStream);
    if (capsule == nullptr) {
      stream->release(stream.get());
      throw PythonError();
    }
    (void)stream.release();  // the capsule's now
    return capsule;
  });
}

PyObject* ResultCancel(PyObject* self, PyObject*) {
  {
    const WithoutLock unlocked;
    reinterpret_cast<PyResult*>(self)->result->Cancel();
  }
  Py_RETURN_NONE;
}

PyObject* ResultReport(PyObject* self, PyObject*) {
  return Guarded([&] {
    QueryReport report;
    {
      const WithoutLock unlocked;
      report = reinterpret_cast<PyResult*>(self)->result->Report();
    }
    Ref operators = Checked(PyList_New(0));
    for (const auto& op : report.operators) {
      const Ref item = Checked(Py_BuildValue("{s:I,s:s,s:s,s:K,s:K,s:d,s:K,s:K,s:K,s:K,s:I}", "depth", op.depth, "name",
                                             op.name.c_str(), "detail", op.detail.c_str(), "rows_in", op.rows_in,
                                             "rows_out", op.rows_out, "seconds", static_cast<double>(op.time_ns) / 1e9,
                                             "peak", op.peak, "spilled", op.spilled, "spilled_rows", op.spilled_rows,
                                             "freed", op.freed, "spills", op.spills));
      if (PyList_Append(operators.get(), item.get()) != 0) throw PythonError();
    }
    return Py_BuildValue("{s:z,s:s,s:K,s:d,s:K,s:K,s:K,s:I,s:K,s:K,s:N}", "failure",
                         report.failure ? KindName(*report.failure) : nullptr, "message", report.message.c_str(),
                         "rows", report.rows, "seconds", static_cast<double>(report.time_ns) / 1e9, "peak", report.peak,
                         "bound", report.bound, "overruns", report.overruns, "pressure_spills", report.pressure_spills,
                         "pressure_freed", report.pressure_freed, "pressure_uncached", report.pressure_uncached,
                         "operators", operators.release());
  });
}

PyMethodDef g_result_methods[] = {
    {"stream", ResultStream, METH_NOARGS, "A capsule with the Arrow C stream of the rows; once."},
    {"cancel", ResultCancel, METH_NOARGS, "Ends the query."},
    {"report", ResultReport, METH_NOARGS, "What the query did; waits for its end."},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot g_result_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(DeleteResult)}, {Py_tp_methods, g_result_methods}, {0, nullptr}};
PyType_Spec g_result_spec = {"neap._engine.Result", sizeof(PyResult), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, g_result_slots};
PyObject* g_result_type = nullptr;

// ---- Sessions.

struct PySession {
  PyObject_HEAD Session* session;
};

Session& SessionOf(PyObject* self) { return *reinterpret_cast<PySession*>(self)->session; }

// planner(declarations, statements) gives [(plan, notes), ...].
std::vector<Statement> CallPlanner(const Callable& planner, const std::vector<std::string>& declarations,
                                   const std::vector<std::string>& statements) {
  const WithLock lock;
  const Ref first = TextList(declarations), second = TextList(statements);
  const Ref planned =
      Checked(PyObject_CallFunctionObjArgs(planner.get(), first.get(), second.get(), static_cast<PyObject*>(nullptr)));
  std::vector<Statement> result;
  for (Py_ssize_t i = 0, n = PyList_Size(planned.get()); i < n; ++i) {
    PyObject* pair = PyList_GetItem(planned.get(), i);
    result.push_back({BytesOf(PyTuple_GetItem(pair, 0)), TextOf(PyTuple_GetItem(pair, 1)), ""});
  }
  return result;
}

PyObject* NewSession(PyTypeObject* type, PyObject* args, PyObject*) {
  return Guarded([&]() -> PyObject* {
    unsigned long long memory = 0;
    unsigned threads = 0;
    const char* spill_dir = nullptr;
    int analyze = 0, force_spill = 0;
    PyObject* planner = nullptr;
    if (PyArg_ParseTuple(args, "KIsppO", &memory, &threads, &spill_dir, &analyze, &force_spill, &planner) == 0)
      throw PythonError();
    SessionOptions options;
    options.memory = memory;
    options.threads = threads;
    options.spill_dir = spill_dir;
    options.analyze = analyze != 0;
    options.force_spill = force_spill != 0;
    options.planner = [callable = Callable(planner)](const auto& declarations, const auto& statements) {
      return CallPlanner(callable, declarations, statements);
    };
    auto session = std::make_unique<Session>(std::move(options));
    Ref self = Checked(PyType_GenericAlloc(type, 0));
    reinterpret_cast<PySession*>(self.get())->session = session.release();
    return self.release();
  });
}

void DeleteSession(PyObject* self) {
  delete reinterpret_cast<PySession*>(self)->session;
  PyTypeObject* type = Py_TYPE(self);
  PyObject_Free(self);
  Py_DECREF(type);
}

PyObject* SessionAddFiles(PyObject* self, PyObject* args) {
  return Guarded([&]() -> PyObject* {
    const char* name = nullptr;
    PyObject* list = nullptr;
    if (PyArg_ParseTuple(args, "sO", &name, &list) == 0) throw PythonError();
    std::vector<std::string> paths;
    const Ref sequence = Checked(PySequence_List(list));
    for (Py_ssize_t i = 0, n = PyList_Size(sequence.get()); i < n; ++i)
      paths.push_back(TextOf(PyList_GetItem(sequence.get(), i)));
    SessionOf(self).AddTable(name, paths);
    Py_RETURN_NONE;
  });
}

// open() gives a capsule with a new stream of the rows.
void OpenStream(const Callable& open, ArrowArrayStream* out) {
  const WithLock lock;
  const Ref capsule(PyObject_CallFunctionObjArgs(open.get(), static_cast<PyObject*>(nullptr)));
  if (capsule == nullptr) ThrowRaised("a table cannot be read");
  auto* stream = static_cast<ArrowArrayStream*>(PyCapsule_GetPointer(capsule.get(), kStreamName));
  if (stream == nullptr) ThrowRaised("a table cannot be read");
  if (stream->release == nullptr) throw Error(ErrorKind::kData, "the stream of a table has been read already");
  *out = std::exchange(*stream, ArrowArrayStream{});
}

PyObject* SessionAddStream(PyObject* self, PyObject* args) {
  return Guarded([&]() -> PyObject* {
    const char* name = nullptr;
    PyObject* open = nullptr;
    unsigned long long rows = 0;
    if (PyArg_ParseTuple(args, "sOK", &name, &open, &rows) == 0) throw PythonError();
    SessionOf(self).AddTable(
        name, [callable = Callable(open)](ArrowArrayStream* out) { OpenStream(callable, out); }, rows);
    Py_RETURN_NONE;
  });
}

PyObject* SessionPlan(PyObject* self, PyObject* args) {
  return Guarded([&] {
    const char* sql = nullptr;
    if (PyArg_ParseTuple(args, "s", &sql) == 0) throw PythonError();
    Ref list = Checked(PyList_New(0));
    for (const Statement& statement : SessionOf(self).Plan(sql)) {
      const Ref item =
          Checked(Py_BuildValue("(y#ss)", statement.plan.data(), static_cast<Py_ssize_t>(statement.plan.size()),
                                statement.notes.c_str(), statement.cache.c_str()));
      if (PyList_Append(list.get(), item.get()) != 0) throw PythonError();
    }
    return list.release();
  });
}

Statement StatementOf(PyObject* args) {
  const char* plan = nullptr;
  Py_ssize_t size = 0;
  const char *notes = nullptr, *cache = nullptr;
  if (PyArg_ParseTuple(args, "y#ss", &plan, &size, &notes, &cache) == 0) throw PythonError();
  return {std::string(plan, static_cast<size_t>(size)), notes, cache};
}

PyObject* SessionExplain(PyObject* self, PyObject* args) {
  return Guarded([&] {
    const Statement statement = StatementOf(args);
    std::string text;
    {
      const WithoutLock unlocked;
      text = SessionOf(self).Explain(statement);
    }
    return PyUnicode_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
  });
}

PyObject* SessionExecute(PyObject* self, PyObject* args) {
  return Guarded([&] {
    const Statement statement = StatementOf(args);
    std::unique_ptr<Result> result;
    {
      const WithoutLock unlocked;
      result = SessionOf(self).Execute(statement);
    }
    Ref object = Checked(PyType_GenericAlloc(reinterpret_cast<PyTypeObject*>(g_result_type), 0));
    reinterpret_cast<PyResult*>(object.get())->result = result.release();
    return object.release();
  });
}

PyMethodDef g_session_methods[] = {
    {"add_files", SessionAddFiles, METH_VARARGS, "add_files(name, paths)"},
    {"add_stream", SessionAddStream, METH_VARARGS, "add_stream(name, open, rows)"},
    {"plan", SessionPlan, METH_VARARGS, "plan(sql) gives [(plan, notes, cache), ...]"},
    {"explain", SessionExplain, METH_VARARGS, "explain(plan, notes, cache)"},
    {"execute", SessionExecute, METH_VARARGS, "execute(plan, notes, cache)"},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot g_session_slots[] = {{Py_tp_new, reinterpret_cast<void*>(NewSession)},
                                 {Py_tp_dealloc, reinterpret_cast<void*>(DeleteSession)},
                                 {Py_tp_methods, g_session_methods},
                                 {0, nullptr}};
PyType_Spec g_session_spec = {"neap._engine.Session", sizeof(PySession), 0, Py_TPFLAGS_DEFAULT, g_session_slots};

// ---- The ledger.

void Put(const Ref& dict, const char* name, const Ref& value) {
  if (PyDict_SetItemString(dict.get(), name, value.get()) != 0) throw PythonError();
}

void Put(const Ref& dict, const char* name, uint64_t figure) {
  Put(dict, name, Checked(PyLong_FromUnsignedLongLong(figure)));
}

void PutOrNone(const Ref& dict, const char* name, uint64_t figure, uint64_t none) {
  Put(dict, name, figure == none ? Checked(Py_BuildValue("")) : Checked(PyLong_FromUnsignedLongLong(figure)));
}

Ref Figures(const neap_ledger_row_t& row) {
  Ref dict = Checked(PyDict_New());
  Put(dict, "live", row.live);
  Put(dict, "requested", row.requested);
  Put(dict, "cached", row.cached);
  Put(dict, "dirty", row.dirty);
  Put(dict, "resident", row.resident);
  return dict;
}

Ref ArenaOf(const neap_ledger_row_t& row) {
  Ref dict = Figures(row);
  Put(dict, "id", row.id);
  Put(dict, "parent", row.parent);
  Put(dict, "name", Checked(PyUnicode_DecodeUTF8(row.name, static_cast<Py_ssize_t>(strlen(row.name)), "replace")));
  Put(dict, "charged", row.charged);
  Put(dict, "peak", row.peak);
  PutOrNone(dict, "bound", row.bound, NEAP_UNBOUNDED);
  Put(dict, "overruns", row.overruns);
  return dict;
}

Ref ClassOf(const neap_ledger_row_t& row) {
  Ref dict = Figures(row);
  PutOrNone(dict, "size", row.block_size, 0);
  return dict;
}

Ref NodeOf(const neap_ledger_row_t& row) {
  Ref dict = Checked(PyDict_New());
  Put(dict, "resident", row.resident);
  Put(dict, "dirty", row.dirty);
  return dict;
}

Ref TotalOf(const neap_ledger_row_t& row) {
  Ref dict = Figures(row);
  Put(dict, "metadata", row.metadata);
  Put(dict, "peak", row.peak);
  Put(dict, "overruns", row.overruns);
  Put(dict, "foreign", row.foreign);
  Put(dict, "anon", row.anon);
  Put(dict, "foreign_purges", row.foreign_purges);
  Put(dict, "foreign_purged", row.foreign_purged);
  return dict;
}

PyObject* ReadLedger(PyObject*, PyObject*) {
  return Guarded([] {
    const std::vector<neap_ledger_row_t> rows = neap::LedgerTable();
    const Ref arenas = Checked(PyList_New(0)), classes = Checked(PyList_New(0)), nodes = Checked(PyList_New(0));
    const auto append = [](const Ref& list, const Ref& row) {
      if (PyList_Append(list.get(), row.get()) != 0) throw PythonError();
    };
    for (const neap_ledger_row_t& row : rows) {
      if (row.kind == NEAP_LEDGER_ARENA) append(arenas, ArenaOf(row));
      if (row.kind == NEAP_LEDGER_CLASS) append(classes, ClassOf(row));
      if (row.kind == NEAP_LEDGER_NODE) append(nodes, NodeOf(row));
    }
    Ref ledger = TotalOf(rows.back());
    Put(ledger, "arenas", arenas);
    Put(ledger, "size_classes", classes);
    Put(ledger, "nodes", nodes);
    return ledger.release();
  });
}

PyMethodDef g_methods[] = {
    {"ledger", ReadLedger, METH_NOARGS,
     "Where the bytes of libneap.so in this process are, as a dict, in bytes: the process's figures, and lists of its\n"
     "arenas, size classes (size None: larger blocks) and NUMA nodes. live, requested and cached of all arenas, and "
     "of\n"
     "all size classes, add up to the process's. What is not preloaded with libneap.so has there what the queries "
     "take."},
    {nullptr, nullptr, 0, nullptr},
};
PyModuleDef g_module = {
    PyModuleDef_HEAD_INIT, "neap._engine", nullptr, -1, g_methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

extern "C" __attribute__((visibility("default"))) PyObject* PyInit__engine() {
  return Guarded([] {
    Ref module = Checked(PyModule_Create(&g_module));
    g_error = Checked(PyErr_NewExceptionWithDoc(
                          "neap.Error", "What a query ended with. kind: plan, data, spill, memory or cancelled.",
                          PyExc_RuntimeError, nullptr))
                  .release();
    g_result_type = Checked(PyType_FromSpec(&g_result_spec)).release();
    const Ref session = Checked(PyType_FromSpec(&g_session_spec));
    if (PyModule_AddObjectRef(module.get(), "Error", g_error) != 0 ||
        PyModule_AddObjectRef(module.get(), "Session", session.get()) != 0) {
      throw PythonError();
    }
    return module.release();
  });
}
