// The entry points of the fake CUDA runtime. There is no blocking one among them: who called
// cudaStreamSynchronize would not link.
#include "machine.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace {

using namespace fake_cuda;

std::uint64_t number(const void* handle) { return reinterpret_cast<std::uintptr_t>(handle); }
template <class Handle>
Handle handle_of(std::uint64_t n) {
  return reinterpret_cast<Handle>(n);  // NOLINT: never followed
}

// One call of an entry point: counts it, and holds the machine until it is done.
class call {
 public:
  explicit call(const char* name) : lock_(machine::get().mutex), name_(name) {
    machine& m = machine::get();
    const int count = ++m.calls[name];
    const auto planned = m.injected.find(name);
    if (planned != m.injected.end() && planned->second.first == count) {
      injected_ = planned->second.second;
    }
    if (this_thread().in_work) {
      m.problem(std::string(name) + " is called from work on a stream");
      code_ = cudaErrorNotPermitted;
    }
  }

  machine* operator->() const { return &machine::get(); }

  // What the call fails with by order of the test, or because the device is dead.
  [[nodiscard]] bool failed(int device = -1) {
    if (code_ == cudaSuccess && injected_ != cudaSuccess) code_ = injected_;
    if (code_ == cudaSuccess && device >= 0) {
      code_ = machine::get().devices[static_cast<std::size_t>(device)].failure;
    }
    return code_ != cudaSuccess;
  }
  [[nodiscard]] cudaError_t done(cudaError_t code) {
    code_ = code;
    return result();
  }
  [[nodiscard]] cudaError_t misuse(const std::string& what, cudaError_t code) {
    machine::get().problem(std::string(name_) + ": " + what);
    return done(code);
  }
  [[nodiscard]] cudaError_t result() const {
    if (code_ != cudaSuccess) this_thread().last_error = code_;
    return code_;
  }

  // The stream behind a handle, null and a failure of the call if there is none.
  [[nodiscard]] stream* find(cudaStream_t handle) {
    machine& m = machine::get();
    if (handle == nullptr || handle == cudaStreamLegacy || handle == cudaStreamPerThread) {
      (void)misuse("a default stream is used", cudaErrorInvalidResourceHandle);
      return nullptr;
    }
    const auto found = m.streams.find(number(handle));
    if (found == m.streams.end()) {
      (void)misuse("no such stream (any more)", cudaErrorInvalidResourceHandle);
      return nullptr;
    }
    return &found->second;
  }
  [[nodiscard]] event* find(cudaEvent_t handle) {
    machine& m = machine::get();
    const auto found = m.events.find(number(handle));
    if (found == m.events.end()) {
      (void)misuse("no such event (any more)", cudaErrorInvalidResourceHandle);
      return nullptr;
    }
    return &found->second;
  }

  // Starts the next operation of `s`: what the host knows to be done comes before it.
  void next(stream& s) {
    for (const auto& [id, count] : machine::get().host) s.now[id] = std::max(s.now[id], count);
    ++s.now[s.id];
  }

 private:
  std::unique_lock<std::mutex> lock_;
  const char* name_;
  cudaError_t injected_ = cudaSuccess;
  cudaError_t code_ = cudaSuccess;
};

int current() { return this_thread().current; }

// Bytes that one operation moves, resolved when it runs. One at a time: what a planted fault leaves
// unordered is to move the wrong bytes, which a test looks for, and not to be a data race.
void move_bytes(void* to, const void* from, std::size_t bytes) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  void* const target = machine::is_device_address(to) ? memory(to) : to;
  const void* const source = machine::is_device_address(from) ? memory(from) : from;
  std::memmove(target, source, bytes);
}

// The pinned block that holds `p`, or null.
std::shared_ptr<pinned_block> find_pinned(const machine& m, const void* p) {
  auto next = m.pinned.upper_bound(p);
  if (next == m.pinned.begin()) return nullptr;
  --next;
  const auto offset = number(p) - number(next->first);
  return offset < next->second->storage.size() ? next->second : nullptr;
}

cudaError_t copy(call& c, stream* s, void* to, const void* from, std::size_t bytes,
                 const char* name) {
  if (bytes == 0) return c.done(cudaSuccess);
  c.next(*s);
  std::vector<std::shared_ptr<pinned_block>> blocks;
  for (const memory_use& a : {memory_use{to, bytes, true}, memory_use{from, bytes, false}}) {
    if (machine::is_device_address(a.data)) {
      c->touch(*s, a, name);
    } else if (auto block = find_pinned(*c.operator->(), a.data)) {
      ++block->uses;
      blocks.push_back(std::move(block));
    }
  }
  c->push(*s, {.run =
                   [=] {
                     move_bytes(to, from, bytes);
                     const std::lock_guard lock(machine::get().mutex);
                     for (const auto& block : blocks) --block->uses;
                   },
               .wait_for = nullptr,
               .pass = nullptr});
  return c.done(cudaSuccess);
}

}  // namespace

namespace fake_cuda {

void fail_in_stream(cudaStream_t handle, cudaError_t code) {
  call c("fail_in_stream");
  stream* const s = c.find(handle);
  if (s == nullptr) return;
  c.next(*s);
  c->push(*s, {.run =
                   [code, on = s->device] {
                     machine& m = machine::get();
                     const std::lock_guard lock(m.mutex);
                     m.devices[static_cast<std::size_t>(on)].failure = code;
                   },
               .wait_for = nullptr,
               .pass = nullptr});
}

void launch(cudaStream_t handle, std::function<void()> kernel,
            const std::vector<memory_use>& accesses) {
  call c("cudaLaunchKernel");
  stream* const s = c.find(handle);
  if (s == nullptr) return;
  if (c.failed(s->device)) return (void)c.result();
  if (s->device != current()) {
    return (void)c.misuse("the stream's device is not the current one",
                          cudaErrorInvalidResourceHandle);
  }
  c.next(*s);
  for (const memory_use& a : accesses) {
    c->touch(*s, a, "a kernel");
    const allocation* const memory = c->find(a.data);
    if (memory == nullptr || memory->device == s->device) continue;
    const auto owner = c->pools.find(memory->pool);
    if (owner == c->pools.end() || !owner->second.open_to.contains(s->device)) {
      c->problem("a kernel on device " + std::to_string(s->device) + " uses memory of device " +
                 std::to_string(memory->device) + ", whose pool is not open to it");
    }
  }
  c->push(*s, {.run = std::move(kernel), .wait_for = nullptr, .pass = nullptr});
}

}  // namespace fake_cuda

extern "C" {

const char* cudaGetErrorName(cudaError_t code) {
  switch (code) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorPeerAccessAlreadyEnabled:
      return "cudaErrorPeerAccessAlreadyEnabled";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorNotPermitted:
      return "cudaErrorNotPermitted";
    default:
      return "cudaErrorUnknown";
  }
}
const char* cudaGetErrorString(cudaError_t code) {
  switch (code) {
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    default:
      return "as the fake runtime was told";
  }
}
cudaError_t cudaGetLastError() {
  const cudaError_t last = cudaPeekAtLastError();
  this_thread().last_error = cudaSuccess;
  return last;
}
// A dead device is everybody's last error, and cannot be cleared.
cudaError_t cudaPeekAtLastError() {
  machine& m = machine::get();
  const std::lock_guard lock(m.mutex);
  if (this_thread().last_error != cudaSuccess) return this_thread().last_error;
  return m.devices[static_cast<std::size_t>(current())].failure;
}

cudaError_t cudaGetDeviceCount(int* count) {
  call c("cudaGetDeviceCount");
  if (c.failed()) return c.result();
  *count = static_cast<int>(c->devices.size());
  return c.done(*count == 0 ? cudaErrorNoDevice : cudaSuccess);
}
cudaError_t cudaGetDevice(int* device) {
  call c("cudaGetDevice");
  if (c.failed()) return c.result();
  *device = current();
  return c.done(cudaSuccess);
}
cudaError_t cudaSetDevice(int device) {
  call c("cudaSetDevice");
  if (c.failed()) return c.result();
  if (device < 0 || static_cast<std::size_t>(device) >= c->devices.size()) {
    return c.misuse("no such device", cudaErrorInvalidDevice);
  }
  this_thread().current = device;
  return c.done(cudaSuccess);
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  call c("cudaDeviceCanAccessPeer");
  if (c.failed()) return c.result();
  *can = device != peer && c->setup.peer_access ? 1 : 0;
  return c.done(cudaSuccess);
}
cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
  call c("cudaDeviceEnablePeerAccess");
  if (c.failed(current())) return c.result();
  if (flags != 0 || peer == current() || !c->setup.peer_access) {
    return c.misuse("there is no such access", cudaErrorInvalidDevice);
  }
  const bool added = c->devices[static_cast<std::size_t>(current())].peers.insert(peer).second;
  return c.done(added ? cudaSuccess : cudaErrorPeerAccessAlreadyEnabled);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned flags) {
  call c("cudaStreamCreateWithFlags");
  if (c.failed(current())) return c.result();
  if (flags != cudaStreamNonBlocking) {
    return c.misuse("the stream waits for the default stream", cudaErrorInvalidValue);
  }
  const std::uint64_t id = c->last_handle += 16;
  stream& made = c->streams[id];
  made.id = id;
  made.device = current();
  made.runs_on = c->hire(current());
  *out = handle_of<cudaStream_t>(id);
  return c.done(cudaSuccess);
}
cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  call c("cudaStreamDestroy");
  stream* const s = c.find(handle);
  if (s == nullptr) return c.result();
  const bool failed = c.failed(s->device);
  const bool dead = c->devices[static_cast<std::size_t>(s->device)].failure != cudaSuccess;
  if (!dead && !failed && c->setup.strict_destroy && !c->idle(*s)) {
    c->problem("cudaStreamDestroy: the stream still has work");
  }
  for (const auto& [address, a] : c->allocations) {
    if (a.stream == s->id && !a.freed && !failed) {
      c->problem("cudaStreamDestroy: memory that was allocated on the stream is not freed");
      break;
    }
  }
  s->runs_on->device = -1;
  c->streams.erase(number(handle));
  return c.result();
}
cudaError_t cudaStreamQuery(cudaStream_t handle) {
  call c("cudaStreamQuery");
  stream* const s = c.find(handle);
  if (s == nullptr || c.failed(s->device)) return c.result();
  if (s->capture != nullptr) {
    return c.misuse("the stream is being captured", cudaErrorStreamCaptureUnsupported);
  }
  if (!c->idle(*s)) return c.done(cudaErrorNotReady);
  c->host_saw(s->now);
  return c.done(cudaSuccess);
}
cudaError_t cudaStreamGetDevice(cudaStream_t handle, int* device) {
  call c("cudaStreamGetDevice");
  stream* const s = c.find(handle);
  if (s == nullptr || c.failed()) return c.result();
  *device = s->device;
  return c.done(cudaSuccess);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event_handle, unsigned) {
  call c("cudaStreamWaitEvent");
  stream* const s = c.find(handle);
  event* const e = s == nullptr ? nullptr : c.find(event_handle);
  if (e == nullptr || c.failed(s->device)) return c.result();
  if (e->capture != nullptr && (s->capture == nullptr || s->capture == e->capture)) {
    s->capture = e->capture;
    return c.done(cudaSuccess);
  }
  if (e->capture != s->capture) {
    return c.misuse("a capture waits for what is no part of it", cudaErrorStreamCaptureIsolation);
  }
  if (e->newest == nullptr) return c.done(cudaSuccess);
  for (const auto& [id, count] : e->newest->before) s->now[id] = std::max(s->now[id], count);
  c.next(*s);
  c->push(*s, {.run = {}, .wait_for = e->newest, .pass = nullptr});
  return c.done(cudaSuccess);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned flags) {
  call c("cudaEventCreateWithFlags");
  if (c.failed(current())) return c.result();
  const std::uint64_t id = c->last_handle += 16;
  c->events[id] = {current(), (flags & cudaEventDisableTiming) == 0, nullptr, nullptr};
  *out = handle_of<cudaEvent_t>(id);
  return c.done(cudaSuccess);
}
cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  call c("cudaEventDestroy");
  event* const e = c.find(handle);
  if (e == nullptr) return c.result();
  (void)c.failed(e->device);
  c->events.erase(number(handle));
  return c.result();
}
cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream_handle) {
  call c("cudaEventRecord");
  stream* const s = c.find(stream_handle);
  event* const e = s == nullptr ? nullptr : c.find(handle);
  if (e == nullptr || c.failed(s->device)) return c.result();
  if (e->device != s->device) {
    return c.misuse("the event is another device's", cudaErrorInvalidResourceHandle);
  }
  e->capture = s->capture;
  if (s->capture != nullptr) return c.done(cudaSuccess);
  c.next(*s);
  e->newest = std::make_shared<point>();
  e->newest->device = s->device;
  e->newest->before = s->now;
  c->push(*s, {.run = {}, .wait_for = nullptr, .pass = e->newest});
  return c.done(cudaSuccess);
}
cudaError_t cudaEventQuery(cudaEvent_t handle) {
  call c("cudaEventQuery");
  event* const e = c.find(handle);
  if (e == nullptr || c.failed(e->device)) return c.result();
  if (e->newest == nullptr) return c.done(cudaSuccess);
  if (!e->newest->passed) return c.done(cudaErrorNotReady);
  c->host_saw(e->newest->before);
  return c.done(cudaSuccess);
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t first, cudaEvent_t last) {
  call c("cudaEventElapsedTime");
  event* const a = c.find(first);
  event* const b = a == nullptr ? nullptr : c.find(last);
  if (b == nullptr || c.failed(a->device)) return c.result();
  if (!a->timed || !b->timed || a->newest == nullptr || b->newest == nullptr) {
    return c.misuse("the events carry no time", cudaErrorInvalidResourceHandle);
  }
  if (!a->newest->passed || !b->newest->passed) return c.done(cudaErrorNotReady);
  *ms = static_cast<float>(b->newest->time - a->newest->time);
  return c.done(cudaSuccess);
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t f, void* data) {
  call c("cudaLaunchHostFunc");
  stream* const s = c.find(handle);
  if (s == nullptr || c.failed(s->device)) return c.result();
  c.next(*s);
  c->push(*s, {.run = [=] { f(data); }, .wait_for = nullptr, .pass = nullptr});
  return c.done(cudaSuccess);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t handle) {
  call c("cudaMemcpyAsync");
  stream* const s = c.find(handle);
  if (s == nullptr || c.failed(s->device)) return c.result();
  const bool to_device = machine::is_device_address(to);
  const bool from_device = machine::is_device_address(from);
  const bool fits = kind == cudaMemcpyHostToDevice     ? to_device && !from_device
                    : kind == cudaMemcpyDeviceToHost   ? !to_device && from_device
                    : kind == cudaMemcpyDeviceToDevice ? to_device && from_device
                                                       : kind == cudaMemcpyDefault;
  if (!fits) return c.misuse("the direction is not that of the pointers", cudaErrorInvalidValue);
  return copy(c, s, to, from, bytes, "cudaMemcpyAsync");
}
cudaError_t cudaMemcpyPeerAsync(void* to, int to_device, const void* from, int from_device,
                                std::size_t bytes, cudaStream_t handle) {
  call c("cudaMemcpyPeerAsync");
  stream* const s = c.find(handle);
  if (s == nullptr || c.failed(s->device)) return c.result();
  const allocation* const target = c->find(to);
  const allocation* const source = c->find(from);
  if (target == nullptr || source == nullptr || target->device != to_device ||
      source->device != from_device) {
    return c.misuse("the memory is not of the devices named", cudaErrorInvalidValue);
  }
  return copy(c, s, to, from, bytes, "cudaMemcpyPeerAsync");
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t handle) {
  call c("cudaMemsetAsync");
  stream* const s = c.find(handle);
  if (s == nullptr || c.failed(s->device) || bytes == 0) return c.result();
  c.next(*s);
  c->touch(*s, {to, bytes, true}, "cudaMemsetAsync");
  c->push(*s, {.run = [=] { std::memset(memory(to), value, bytes); },
               .wait_for = nullptr,
               .pass = nullptr});
  return c.done(cudaSuccess);
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* out, const void* p) {
  call c("cudaPointerGetAttributes");
  if (c.failed(current())) return c.result();
  const allocation* const memory = c->find(p);
  *out = {};
  out->type = memory != nullptr                            ? cudaMemoryTypeDevice
              : find_pinned(*c.operator->(), p) != nullptr ? cudaMemoryTypeHost
                                                           : cudaMemoryTypeUnregistered;
  out->device = memory != nullptr ? memory->device : -2;
  return c.done(cudaSuccess);
}
cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  call c("cudaStreamIsCapturing");
  stream* const s = c.find(handle);
  if (s == nullptr || c.failed(s->device)) return c.result();
  *status = s->capture == nullptr ? cudaStreamCaptureStatusNone : cudaStreamCaptureStatusActive;
  return c.done(cudaSuccess);
}
cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode) {
  call c("cudaStreamBeginCapture");
  stream* const s = c.find(handle);
  if (s == nullptr || c.failed(s->device)) return c.result();
  if (s->capture != nullptr) {
    return c.misuse("the stream is being captured already", cudaErrorIllegalState);
  }
  s->capture = std::make_shared<graph>();
  return c.done(cudaSuccess);
}
cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* out) {
  call c("cudaStreamEndCapture");
  stream* const s = c.find(handle);
  if (s == nullptr) return c.result();
  const std::shared_ptr<graph> made = s->capture;
  if (made == nullptr) return c.misuse("the stream is not captured", cudaErrorIllegalState);
  for (auto& [id, other] : c->streams) {
    if (other.capture == made) other.capture = nullptr;
  }
  for (auto& [id, e] : c->events) {
    if (e.capture == made) e.capture = nullptr;
  }
  if (c.failed(s->device)) return c.result();
  const std::uint64_t id = c->last_handle += 16;
  c->graphs[id] = made;
  *out = handle_of<cudaGraph_t>(id);
  return c.done(cudaSuccess);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* out, cudaGraph_t handle, unsigned long long) {
  call c("cudaGraphInstantiate");
  const auto found = c->graphs.find(number(handle));
  if (found == c->graphs.end()) return c.misuse("no such graph (any more)", cudaErrorInvalidValue);
  if (c.failed()) return c.result();
  const std::uint64_t id = c->last_handle += 16;
  c->graphs[id] = found->second;
  *out = handle_of<cudaGraphExec_t>(id);
  return c.done(cudaSuccess);
}
cudaError_t cudaGraphDestroy(cudaGraph_t handle) {
  call c("cudaGraphDestroy");
  if (c->graphs.erase(number(handle)) == 0) {
    return c.misuse("no such graph (any more)", cudaErrorInvalidValue);
  }
  return c.done(cudaSuccess);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t handle) {
  call c("cudaGraphExecDestroy");
  if (c->graphs.erase(number(handle)) == 0) {
    return c.misuse("no such graph (any more)", cudaErrorInvalidValue);
  }
  return c.done(cudaSuccess);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t stream_handle) {
  call c("cudaGraphLaunch");
  stream* const s = c.find(stream_handle);
  if (s == nullptr || c.failed(s->device)) return c.result();
  const auto found = c->graphs.find(number(handle));
  if (found == c->graphs.end()) return c.misuse("no such graph (any more)", cudaErrorInvalidValue);
  c.next(*s);
  for (const operation& op : found->second->operations) c->push(*s, op);
  return c.done(cudaSuccess);
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* out, const cudaMemPoolProps* properties) {
  call c("cudaMemPoolCreate");
  const int device = properties->location.id;
  if (c.failed(device)) return c.result();
  const std::uint64_t id = c->last_handle += 16;
  c->pools[id].device = device;
  *out = handle_of<cudaMemPool_t>(id);
  return c.done(cudaSuccess);
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t handle) {
  call c("cudaMemPoolDestroy");
  const auto found = c->pools.find(number(handle));
  if (found == c->pools.end() || found->second.destroyed) {
    return c.misuse("no such pool (any more)", cudaErrorInvalidValue);
  }
  (void)c.failed();
  found->second.destroyed = true;  // its memory lives on until it is freed
  return c.result();
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t handle, cudaMemPoolAttr, void*) {
  call c("cudaMemPoolSetAttribute");
  if (!c->pools.contains(number(handle))) return c.misuse("no such pool", cudaErrorInvalidValue);
  (void)c.failed();
  return c.result();
}
cudaError_t cudaMemPoolSetAccess(cudaMemPool_t handle, const cudaMemAccessDesc* list,
                                 std::size_t count) {
  call c("cudaMemPoolSetAccess");
  const auto found = c->pools.find(number(handle));
  if (found == c->pools.end()) return c.misuse("no such pool", cudaErrorInvalidValue);
  if (c.failed()) return c.result();
  if (!c->setup.peer_access) return c.misuse("there is no such access", cudaErrorInvalidDevice);
  for (std::size_t i = 0; i < count; ++i) found->second.open_to.insert(list[i].location.id);
  return c.done(cudaSuccess);
}
cudaError_t cudaMallocFromPoolAsync(void** out, std::size_t bytes, cudaMemPool_t pool_handle,
                                    cudaStream_t handle) {
  call c("cudaMallocFromPoolAsync");
  stream* const s = c.find(handle);
  if (s == nullptr || c.failed(s->device)) return c.result();
  const auto from = c->pools.find(number(pool_handle));
  if (from == c->pools.end() || from->second.destroyed) {
    return c.misuse("no such pool (any more)", cudaErrorInvalidValue);
  }
  const int on = from->second.device;
  device& d = c->devices[static_cast<std::size_t>(on)];
  if (s->capture != nullptr) {
    return c.misuse("this runtime has no memory nodes", cudaErrorStreamCaptureUnsupported);
  }
  if (bytes > c->setup.memory - d.used) return c.done(cudaErrorMemoryAllocation);
  c.next(*s);
  const std::uintptr_t address = machine::first_address +
                                 static_cast<std::uintptr_t>(on) * machine::device_stride +
                                 c->next_address[static_cast<std::size_t>(on)];
  c->next_address[static_cast<std::size_t>(on)] += (bytes + 511) / 256 * 256;
  d.used += bytes;
  allocation& made = c->allocations[address];
  made.device = on;
  made.size = bytes;
  made.pool = number(pool_handle);
  made.stream = s->id;
  made.count = s->now[s->id];
  made.storage = std::make_unique<std::byte[]>(bytes);
  std::memset(made.storage.get(), 0xcd, bytes);
  *out = handle_of<void*>(address);
  return c.done(cudaSuccess);
}
cudaError_t cudaFreeAsync(void* data, cudaStream_t handle) {
  call c("cudaFreeAsync");
  stream* const s = c.find(handle);
  if (s == nullptr) return c.result();
  std::uintptr_t base = 0;
  allocation* const memory = c->find(data, &base);
  if (memory == nullptr || base != number(data)) {
    return c.misuse("no memory was allocated there", cudaErrorInvalidValue);
  }
  if (memory->freed) return c.misuse("the memory is freed already", cudaErrorInvalidValue);
  if (c.failed(s->device)) {
    memory->freed = true;
    return c.result();
  }
  c.next(*s);
  c->release(*s, base);
  c->push(*s, {.run =
                   [base] {
                     machine& m = machine::get();
                     const std::lock_guard lock(m.mutex);
                     allocation& a = m.allocations.at(base);
                     std::memset(a.storage.get(), 0xdd, a.size);
                     a.storage.reset();
                   },
               .wait_for = nullptr,
               .pass = nullptr});
  return c.done(cudaSuccess);
}

cudaError_t cudaHostAlloc(void** out, std::size_t bytes, unsigned) {
  call c("cudaHostAlloc");
  if (c.failed(current())) return c.result();
  auto block = std::make_shared<pinned_block>(bytes);
  *out = block->storage.data();
  c->pinned[*out] = std::move(block);
  return c.done(cudaSuccess);
}
cudaError_t cudaFreeHost(void* data) {
  call c("cudaFreeHost");
  const auto found = c->pinned.find(data);
  if (found == c->pinned.end()) return c.misuse("no such memory", cudaErrorInvalidValue);
  if (found->second->uses != 0) c->problem("cudaFreeHost: queued work still uses the memory");
  (void)c.failed(current());
  c->pinned.erase(found);
  return c.result();
}

}  // extern "C"
