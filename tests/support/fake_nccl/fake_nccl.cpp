// The entry points of the fake NCCL.
#include <rondel/core/text.hpp>

#include "state.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <fake_cuda/fake_cuda.hpp>

namespace fake_nccl {
namespace {

// The calling thread's group, and the words of its last error.
struct thread_state {
  int depth = 0;
  ncclResult_t error = ncclSuccess;
  std::vector<std::pair<comm*, op>> ops;
  std::string last_error;
  ~thread_state() {
    if (depth != 0) report("a thread ended with a group open");
  }
};
thread_local thread_state here;

ncclResult_t fails(ncclResult_t result, std::string words) {
  here.last_error = std::move(words);
  if (here.depth > 0) here.error = result;
  return result;
}

void counted(const char* name) {
  const std::lock_guard lock(lib().notes);
  ++lib().calls[name];
}

int current_device() {
  int device = -1;
  (void)cudaGetDevice(&device);
  return device;
}

// Whether the call may go on with `c`; a call at a time.
class call {
 public:
  call(ncclComm_t handle, const char* name) : comm_(reinterpret_cast<comm*>(handle)) {
    counted(name);
    bool known = false;
    {
      const std::lock_guard lock(lib().mutex);
      known = std::any_of(lib().comms.begin(), lib().comms.end(),
                          [&](const auto& one) { return one.get() == comm_; });
    }
    if (!known || comm_->dead.load()) {
      if (handle != nullptr) report(rondel::concat(name, " of a communicator after its end"));
      comm_ = nullptr;
      return;
    }
    if (comm_->inside.fetch_add(1) != 0) {
      report(rondel::concat("rank ", comm_->rank, ": ", name,
                            " while another thread is in a call of the same communicator"));
    }
  }
  call(const call&) = delete;
  call& operator=(const call&) = delete;
  ~call() {
    if (comm_ != nullptr) comm_->inside.fetch_sub(1);
  }
  [[nodiscard]] bool valid() const noexcept { return comm_ != nullptr; }
  comm* operator->() const noexcept { return comm_; }
  comm& operator*() const noexcept { return *comm_; }

 private:
  comm* comm_;
};

// Puts a non-blocking call on its way: `next` is tried by the polls until it says that it is done.
ncclResult_t begin(comm& c, std::function<bool()> next) {
  if (c.blocking) {
    while (!next()) {
      if (c.aborted.load()) return ncclSystemError;
      std::this_thread::yield();
    }
    return c.state.load();
  }
  ncclResult_t ready = ncclSuccess;  // or an operation has failed meanwhile
  if (!c.state.compare_exchange_strong(ready, ncclInProgress)) return ready;
  c.polls_left = static_cast<int>(draw(static_cast<std::uint64_t>(lib().how.polls) + 1));
  c.next = std::move(next);
  return ncclInProgress;
}

std::vector<fake_cuda::memory_use> accesses(const plan& p) {
  std::vector<fake_cuda::memory_use> out;
  for (const op& o : p.ops) {
    for (const region& r : regions(o, p.owner->rank, p.owner->group->size)) {
      out.push_back({r.data, r.size, r.writes});
    }
  }
  return out;
}

// Gives the plan to the streams; all of them wait for all of it.
void enqueue(comm& c, std::unique_ptr<plan> given) {
  const std::shared_ptr<plan> p = std::move(given);
  int before = 0;
  (void)cudaGetDevice(&before);
  (void)cudaSetDevice(c.device);
  const cudaStream_t first = p->ops.front().stream;
  auto capture = cudaStreamCaptureStatusNone;
  (void)cudaStreamIsCapturing(first, &capture);
  p->captured = capture != cudaStreamCaptureStatusNone;
  if (p->captured) {
    c.graphs.fetch_add(1);
  } else {
    p->number = c.plans++;
  }
  std::set<cudaStream_t> others;
  for (const op& o : p->ops) {
    if (o.stream != first) others.insert(o.stream);
  }
  cudaEvent_t event = nullptr;
  if (!others.empty()) (void)cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  for (const cudaStream_t s : others) {
    (void)cudaEventRecord(event, s);
    (void)cudaStreamWaitEvent(first, event, 0);
  }
  (void)cudaGetLastError();
  fake_cuda::launch(
      first, [p] { run_plan(*p); }, accesses(*p));
  if (cudaGetLastError() != cudaSuccess) c.state = ncclUnhandledCudaError;
  if (!others.empty()) {
    (void)cudaEventRecord(event, first);
    for (const cudaStream_t s : others) (void)cudaStreamWaitEvent(s, event, 0);
    (void)cudaEventDestroy(event);
  }
  (void)cudaSetDevice(before);
  if (due(c, fault::dirty_error, p->operation)) {
    for (int twice = 0; twice < 2; ++twice) (void)cudaDeviceEnablePeerAccess(c.device ^ 1, 0);
  }
}

ncclResult_t launch(comm& c, std::vector<op> ops) {
  auto p = std::make_unique<plan>();
  p->owner = c.self;
  p->operation = c.operations++;
  p->ops = std::move(ops);
  const bool collective =
      std::any_of(p->ops.begin(), p->ops.end(), [](const op& o) { return !is_message(o); });
  {
    const std::lock_guard lock(c.group->mutex);
    if (collective) p->collective = ++c.group->issued[static_cast<std::size_t>(c.rank)];
  }
  p->connects = collective && p->collective == 1;
  if (due(c, fault::call_error, p->operation)) {
    if (!c.blocking) c.state = lib().how.result;
    return fails(lib().how.result, "an error on demand");
  }
  c.pending = std::move(p);
  return begin(c, [&c] {
    if (c.pending->connects) {
      // The first collective connects the ranks, which needs all of them.
      const std::lock_guard lock(c.group->mutex);
      for (const std::uint64_t n : c.group->issued) {
        if (n < c.pending->collective) return false;
      }
    }
    enqueue(c, std::move(c.pending));
    return true;
  });
}

ncclResult_t add(ncclComm_t handle, const op& o, const char* name) {
  const call c(handle, name);
  if (!c.valid()) return fails(ncclInvalidArgument, rondel::concat(name, ": comm is NULL or gone"));
  if (c->state.load() == ncclInProgress) {
    report(rondel::concat("rank ", c->rank, ": ", name, " before the call before it was done"));
    return fails(ncclInvalidArgument, "not ready");
  }
  if (c->state.load() != ncclSuccess) return fails(c->state.load(), "the communicator has failed");
  const bool known = o.type >= 0 && o.type < ncclNumTypes && size_of(o.type) != 0;
  if (!known || o.root < 0 || o.root >= c->group->size || o.reduction < 0 ||
      o.reduction >= ncclAvg) {
    if (!c->blocking) c->state = ncclInvalidArgument;
    return fails(ncclInvalidArgument, rondel::concat(name, ": a bad type, root or reduction"));
  }
  if (o.count == 0) {
    if (is_message(o)) report(rondel::concat("rank ", c->rank, ": an empty message"));
    return ncclSuccess;
  }
  if (here.depth > 0) {
    here.ops.emplace_back(&*c, o);
    return ncclSuccess;
  }
  return launch(*c, {o});
}

// NCCL waits for them without end. What is launched of a graph that was destroyed still runs.
void check_graphs(const comm& c) {
  using clock = std::chrono::steady_clock;
  const auto end = clock::now() + std::chrono::duration<double>(lib().how.destroy_patience);
  while (c.graphs.load() != 0 && clock::now() < end) std::this_thread::yield();
  if (c.graphs.load() == 0) return;
  report(rondel::concat("rank ", c.rank,
                        ": a communicator ends while a graph has its operations: it would hang"));
}

bool needs(int version) { return lib().how.version >= version; }

}  // namespace

library& lib() {
  static library the_library;
  return the_library;
}

void report(const std::string& words) {
  const std::lock_guard lock(lib().notes);
  lib().misuse.push_back(words);
}

std::uint64_t draw(std::uint64_t below) {
  const std::lock_guard lock(lib().notes);
  return lib().random() % below;
}

bool due(const comm& c, fault kind, std::uint64_t number) {
  const settings& how = lib().how;
  return how.kind == kind && c.group->first && c.rank == how.rank && number == how.operation;
}

void reset(const settings& s) {
  library& l = lib();
  {
    const std::lock_guard lock(l.mutex);
    for (const auto& c : l.comms) {
      c->next = nullptr;
      c->pending = nullptr;
      c->self = nullptr;
    }
    l.comms.clear();
    const std::lock_guard notes(l.notes);
    l.misuse.clear();
    l.calls.clear();
    l.open_ids.clear();
    l.used_ids.clear();
    l.how = s;
    l.random.seed(s.seed);
    l.released = false;
    l.runs = 0;
  }
}

void release() {
  const std::lock_guard lock(lib().mutex);
  lib().released = true;
  lib().release.notify_all();
}

std::vector<std::string> misuse() {
  const std::lock_guard lock(lib().notes);
  return lib().misuse;
}

std::vector<std::string> leaks() {
  const std::lock_guard lock(lib().mutex);
  std::vector<std::string> out;
  for (const auto& c : lib().comms) {
    if (!c->dead.load()) {
      out.push_back(rondel::concat("rank ", c->rank, " of ", c->group->size, " is still there"));
    }
  }
  return out;
}

int runs() noexcept { return lib().runs.load(); }

int open_groups() noexcept { return here.depth; }

int calls(const std::string& name) {
  const std::lock_guard lock(lib().notes);
  const auto found = lib().calls.find(name);
  return found == lib().calls.end() ? 0 : found->second;
}

}  // namespace fake_nccl

using namespace fake_nccl;  // NOLINT: what follows is C

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = lib().how.version;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclInternalError:
      return "internal error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
    default:
      return "unknown result code";
  }
}

const char* ncclGetLastError(ncclComm_t) { return here.last_error.c_str(); }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  counted("ncclGetUniqueId");
  std::memset(id, 0, sizeof *id);
  const char* const address = std::getenv("NCCL_COMM_ID");
  const std::lock_guard lock(lib().mutex);
  const std::string text =
      address != nullptr ? rondel::concat("at ", address) : rondel::concat("id ", ++lib().ids);
  std::memcpy(id->internal, text.data(), std::min(text.size(), sizeof id->internal - 1));
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* out, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  counted("ncclCommInitRankConfig");
  const ncclConfig_t expected = NCCL_CONFIG_INITIALIZER;
  if (config != nullptr && (config->size != expected.size || config->magic != expected.magic)) {
    return fails(ncclInvalidArgument, "the config is not from NCCL_CONFIG_INITIALIZER");
  }
  if (rank < 0 || rank >= ranks) return fails(ncclInvalidArgument, "the rank is out of range");
  if (here.depth > 0) report("an initialisation inside a group, which the fake does not know");
  const std::string name(id.internal);
  auto c = std::make_shared<comm>();
  c->rank = rank;
  c->device = current_device();
  c->blocking = config == nullptr || config->blocking != 0;
  c->self = c;
  {
    const std::lock_guard lock(lib().mutex);
    auto& group = lib().open_ids[name];
    if (group == nullptr) {
      if (lib().used_ids.contains(name) && name.starts_with("id ")) {
        report("an id is used for a second communicator");
      }
      group = std::make_shared<clique>(ranks);
      group->first = true;
      group->needs_root = name.starts_with("at ");
    }
    c->group = group;
    lib().comms.push_back(c);
    if (group->size != ranks) return fails(ncclInvalidArgument, "ranks disagree about the size");
    const std::lock_guard members(group->mutex);
    auto& place = group->members[static_cast<std::size_t>(rank)];
    if (place != nullptr) report("two ranks have the same number");
    place = c.get();
    if (rank == 0 && std::getenv("NCCL_COMM_ID") != nullptr) group->root_listens = true;
    if (std::none_of(group->members.begin(), group->members.end(),
                     [](const comm* m) { return m == nullptr; })) {
      lib().used_ids.insert(name);
      lib().open_ids.erase(name);
    }
  }
  *out = reinterpret_cast<ncclComm_t>(c.get());
  return begin(*c, [raw = c.get()] {
    if (due(*raw, fault::init_stall, lib().how.operation)) return false;
    clique& g = *raw->group;
    const std::lock_guard lock(g.mutex);
    if (g.needs_root && !g.root_listens) return false;
    for (const comm* one : g.members) {
      if (one == nullptr) return false;
    }
    const char* const allowed = std::getenv("NCCL_MULTI_RANK_GPU_ENABLE");
    const bool several =
        needs(NCCL_VERSION(2, 30, 3)) && allowed != nullptr && std::string(allowed) == "1";
    for (const comm* a : g.members) {
      for (const comm* b : g.members) {
        if (several || a->rank >= b->rank || a->device != b->device) continue;
        here.last_error = rondel::concat("Duplicate GPU detected : rank ", a->rank, " and rank ",
                                         b->rank, " both on CUDA device ", (a->device + 1) * 1000);
        raw->state = ncclInvalidUsage;
        return true;
      }
    }
    return true;
  });
}

ncclResult_t ncclCommInitRank(ncclComm_t* out, int ranks, ncclUniqueId id, int rank) {
  return ncclCommInitRankConfig(out, ranks, id, rank, nullptr);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t handle, ncclResult_t* state) {
  const call c(handle, "ncclCommGetAsyncError");
  if (!c.valid()) return ncclInvalidArgument;
  if (c->state.load() == ncclInProgress && c->next && c->polls_left-- <= 0) {
    const auto next = c->next;
    if (next()) {
      c->next = nullptr;
      ncclResult_t still = ncclInProgress;
      (void)c->state.compare_exchange_strong(still, ncclSuccess);
    }
  }
  *state = c->state.load();
  return ncclSuccess;
}

ncclResult_t ncclCommCount(const ncclComm_t handle, int* count) {
  const call c(handle, "ncclCommCount");
  if (!c.valid()) return ncclInvalidArgument;
  *count = c->group->size;
  return ncclSuccess;
}
ncclResult_t ncclCommUserRank(const ncclComm_t handle, int* rank) {
  const call c(handle, "ncclCommUserRank");
  if (!c.valid()) return ncclInvalidArgument;
  *rank = c->rank;
  return ncclSuccess;
}
ncclResult_t ncclCommCuDevice(const ncclComm_t handle, int* device) {
  const call c(handle, "ncclCommCuDevice");
  if (!c.valid()) return ncclInvalidArgument;
  *device = c->device;
  return ncclSuccess;
}

ncclResult_t ncclCommSplit(ncclComm_t handle, int color, int key, ncclComm_t* out,
                           ncclConfig_t* config) {
  const call c(handle, "ncclCommSplit");
  if (!c.valid()) return fails(ncclInvalidArgument, "ncclCommSplit: comm is NULL or gone");
  if (c->state.load() != ncclSuccess) {
    report(rondel::concat("rank ", c->rank, ": ncclCommSplit of one that is not ready"));
    return fails(ncclInvalidArgument, "not ready");
  }
  if (c->executed.load() != c->plans || c->running.load() != 0) {
    report(rondel::concat("rank ", c->rank, ": a split while operations of its parent are queued"));
  }
  const std::uint64_t number = c->split_count++;
  {
    const std::lock_guard lock(c->group->mutex);
    c->group->choices[number].push_back({c->rank, color, key});
  }
  *out = nullptr;
  const bool blocking = config == nullptr || config->blocking != 0;
  return begin(*c, [raw = &*c, number, color, out, blocking] {
    clique& g = *raw->group;
    const std::lock_guard all(lib().mutex);
    const std::lock_guard lock(g.mutex);
    auto chosen = g.choices[number];
    if (static_cast<int>(chosen.size()) != g.size) return false;
    if (color == NCCL_SPLIT_NOCOLOR) return true;
    std::erase_if(chosen, [&](const auto& one) { return one.color != color; });
    std::sort(chosen.begin(), chosen.end(), [](const auto& a, const auto& b) {
      return std::pair(a.key, a.rank) < std::pair(b.key, b.rank);
    });
    auto& part = g.parts[{number, color}];
    if (part == nullptr) part = std::make_shared<clique>(static_cast<int>(chosen.size()));
    auto child = std::make_shared<comm>();
    child->group = part;
    child->device = raw->device;
    child->blocking = blocking;
    child->self = child;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      if (chosen[i].rank == raw->rank) child->rank = static_cast<int>(i);
    }
    {
      const std::lock_guard members(part->mutex);
      part->members[static_cast<std::size_t>(child->rank)] = child.get();
    }
    lib().comms.push_back(child);
    *out = reinterpret_cast<ncclComm_t>(child.get());
    return true;
  });
}

ncclResult_t ncclCommFinalize(ncclComm_t handle) {
  const call c(handle, "ncclCommFinalize");
  if (!c.valid()) return ncclInvalidArgument;
  if (c->finalize_called || c->state.load() != ncclSuccess) {
    report(rondel::concat("rank ", c->rank, ": ncclCommFinalize of one that is not ready"));
    return ncclInvalidArgument;
  }
  c->finalize_called = true;
  {
    const std::lock_guard lock(c->group->mutex);
    ++c->group->finalized;
  }
  return begin(*c, [raw = &*c] {
    const std::lock_guard members(raw->group->mutex);
    if (raw->group->finalized < raw->group->size) return false;
    if (raw->executed.load() != raw->plans || raw->running.load() != 0) return false;
    raw->finalize_done = true;
    return true;
  });
}

ncclResult_t ncclCommDestroy(ncclComm_t handle) {
  if (handle == nullptr) return ncclSuccess;
  const call c(handle, "ncclCommDestroy");
  if (!c.valid()) return ncclInvalidArgument;
  if (!c->finalize_done) {
    // Then it is a collective.
    clique& g = *c->group;
    std::unique_lock lock(g.mutex);
    ++g.destroyed;
    g.changed.notify_all();
    const auto patience = std::chrono::duration<double>(lib().how.destroy_patience);
    if (!g.changed.wait_for(lock, patience, [&] { return g.destroyed >= g.size; })) {
      report(rondel::concat("rank ", c->rank, " destroys a communicator alone: it would hang"));
    }
  }
  if (c->executed.load() != c->plans || c->running.load() != 0) {
    report(rondel::concat("rank ", c->rank, ": a communicator is destroyed while in use"));
  }
  check_graphs(*c);
  c->dead = true;
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t handle) {
  if (handle == nullptr) return ncclSuccess;
  const call c(handle, "ncclCommAbort");
  if (!c.valid()) return ncclInvalidArgument;
  if (c->device != current_device()) {
    report(rondel::concat("rank ", c->rank, ": an abort with device ", current_device(),
                          " current of a communicator on device ", c->device));
  }
  if (lib().how.kind == fault::abort_stall && c->rank == lib().how.rank) {
    std::unique_lock lock(lib().mutex);
    lib().release.wait(lock, [] { return lib().released; });
  }
  {
    const std::lock_guard lock(c->group->mutex);
    c->aborted = true;
    c->group->changed.notify_all();
  }
  while (c->running.load() != 0) std::this_thread::yield();
  check_graphs(*c);
  c->next = nullptr;
  c->pending = nullptr;
  c->dead = true;
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++here.depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (here.depth == 0) {
    report("ncclGroupEnd without a group");
    return ncclInvalidUsage;
  }
  if (--here.depth > 0) return ncclSuccess;
  const ncclResult_t error = std::exchange(here.error, ncclSuccess);
  const auto ops = std::exchange(here.ops, {});
  std::vector<comm*> comms;
  for (const auto& [c, o] : ops) {
    if (std::find(comms.begin(), comms.end(), c) == comms.end()) comms.push_back(c);
  }
  if (error != ncclSuccess) {
    for (comm* c : comms) {
      if (!c->blocking) c->state = error;
    }
    return error;
  }
  ncclResult_t result = ncclSuccess;
  for (comm* c : comms) {
    std::vector<op> own;
    for (const auto& [other, o] : ops) {
      if (other == c) own.push_back(o);
    }
    const ncclResult_t one = launch(*c, std::move(own));
    if (one != ncclSuccess && (result == ncclSuccess || result == ncclInProgress)) result = one;
  }
  return result;
}

ncclResult_t ncclAllReduce(const void* in, void* out, size_t count, ncclDataType_t type,
                           ncclRedOp_t reduction, ncclComm_t comm, cudaStream_t stream) {
  return add(comm, {op_kind::all_reduce, in, out, count, type, reduction, 0, stream},
             "ncclAllReduce");
}
ncclResult_t ncclReduceScatter(const void* in, void* out, size_t count, ncclDataType_t type,
                               ncclRedOp_t reduction, ncclComm_t comm, cudaStream_t stream) {
  return add(comm, {op_kind::reduce_scatter, in, out, count, type, reduction, 0, stream},
             "ncclReduceScatter");
}
ncclResult_t ncclAllGather(const void* in, void* out, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  return add(comm, {op_kind::all_gather, in, out, count, type, ncclSum, 0, stream},
             "ncclAllGather");
}
ncclResult_t ncclBroadcast(const void* in, void* out, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  return add(comm, {op_kind::broadcast, in, out, count, type, ncclSum, root, stream},
             "ncclBroadcast");
}
ncclResult_t ncclAlltoAll(const void* in, void* out, size_t count, ncclDataType_t type,
                          ncclComm_t comm, cudaStream_t stream) {
  if (!needs(NCCL_VERSION(2, 28, 3))) report("ncclAlltoAll of a library that has none");
  return add(comm, {op_kind::all_to_all, in, out, count, type, ncclSum, 0, stream}, "ncclAlltoAll");
}
ncclResult_t ncclGather(const void* in, void* out, size_t count, ncclDataType_t type, int root,
                        ncclComm_t comm, cudaStream_t stream) {
  if (!needs(NCCL_VERSION(2, 28, 3))) report("ncclGather of a library that has none");
  return add(comm, {op_kind::gather, in, out, count, type, ncclSum, root, stream}, "ncclGather");
}
ncclResult_t ncclScatter(const void* in, void* out, size_t count, ncclDataType_t type, int root,
                         ncclComm_t comm, cudaStream_t stream) {
  if (!needs(NCCL_VERSION(2, 28, 3))) report("ncclScatter of a library that has none");
  return add(comm, {op_kind::scatter, in, out, count, type, ncclSum, root, stream}, "ncclScatter");
}
ncclResult_t ncclSend(const void* in, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return add(comm, {op_kind::send, in, nullptr, count, type, ncclSum, peer, stream}, "ncclSend");
}
ncclResult_t ncclRecv(void* out, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return add(comm, {op_kind::recv, nullptr, out, count, type, ncclSum, peer, stream}, "ncclRecv");
}

}  // extern "C"
