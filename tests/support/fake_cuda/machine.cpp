#include "machine.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>

namespace fake_cuda {

thread_state& this_thread() {
  thread_local thread_state state;
  return state;
}

namespace {

void merge(order& into, const order& from) {
  for (const auto& [id, count] : from) {
    std::uint64_t& mine = into[id];
    mine = std::max(mine, count);
  }
}

[[nodiscard]] bool knows(const order& o, std::uint64_t id, std::uint64_t count) {
  const auto found = o.find(id);
  return found != o.end() && found->second >= count;
}

[[nodiscard]] double now_ms() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

[[nodiscard]] std::string hex(std::uintptr_t a) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%zx", static_cast<std::size_t>(a));
  return text;
}

}  // namespace

machine& machine::get() {
  static machine one;
  return one;
}

machine::machine() { start({}); }

machine::~machine() {
  {
    const std::lock_guard lock(mutex);
    for (auto& w : workers_) {
      w->stop = true;
      w->changed.notify_all();
    }
  }
  for (auto& w : workers_) w->thread.join();
}

void machine::start(const options& o) {
  const std::lock_guard lock(mutex);
  setup = o;
  random_.seed(o.seed);
  devices.assign(static_cast<std::size_t>(o.devices), {});
  next_address.assign(static_cast<std::size_t>(o.devices), 0);
  calls.clear();
  injected.clear();
  problems.clear();
}

std::vector<std::string> machine::stop() {
  std::unique_lock lock(mutex);
  idle_.wait(lock, [&] {
    return std::all_of(workers_.begin(), workers_.end(), [](const auto& w) { return !w->busy; });
  });
  std::vector<std::string> out = std::move(problems);
  for (const auto& [id, s] : streams) {
    out.push_back("stream " + std::to_string(id) + " was not destroyed");
    s.runs_on->device = -1;
  }
  for (const auto& [id, e] : events) {
    out.push_back("event " + std::to_string(id) + " was not destroyed");
  }
  for (const auto& [id, p] : pools) {
    if (!p.destroyed) out.push_back("memory pool " + std::to_string(id) + " was not destroyed");
  }
  if (!graphs.empty()) out.push_back("a graph was not destroyed");
  graphs.clear();
  for (const auto& [address, a] : allocations) {
    if (!a.freed) {
      out.push_back(std::to_string(a.size) + " B of device " + std::to_string(a.device) + " at " +
                    hex(address) + " were not freed");
    }
  }
  for (const auto& one : pinned) {
    out.push_back(std::to_string(one.second->storage.size()) +
                  " B of pinned memory were not freed");
  }
  streams.clear();
  events.clear();
  pools.clear();
  allocations.clear();
  pinned.clear();
  problems.clear();
  host.clear();
  return out;
}

worker* machine::hire(int device) {
  for (auto& w : workers_) {
    if (w->device == -1 && !w->busy) {
      w->device = device;
      w->random.seed(random_());
      return w.get();
    }
  }
  auto& w = workers_.emplace_back(std::make_unique<worker>());
  w->device = device;
  w->random.seed(random_());
  w->thread = std::thread([this, one = w.get()] { serve(*one); });
  return w.get();
}

void machine::serve(worker& w) {
  std::unique_lock lock(mutex);
  for (;;) {
    w.changed.wait(lock, [&] { return w.stop || !w.queue.empty(); });
    if (w.queue.empty()) return;
    const operation op = std::move(w.queue.front());
    w.queue.pop_front();
    if (setup.delays) {
      const unsigned draw = w.random() % 32;
      if (draw < 4) {
        const auto pause = std::chrono::microseconds(draw == 0 ? w.random() % 100 : 0);
        lock.unlock();
        if (draw == 0) {
          std::this_thread::sleep_for(pause);
        } else {
          std::this_thread::yield();
        }
        lock.lock();
      }
    }
    if (op.wait_for != nullptr) {
      op.wait_for->changed.wait(lock, [&] { return op.wait_for->passed || w.stop; });
    }
    const int on = w.device;
    if (op.run && (on < 0 || devices[static_cast<std::size_t>(on)].failure == cudaSuccess)) {
      lock.unlock();
      this_thread().in_work = true;
      this_thread().work_device = on;
      std::string thrown;
      try {
        op.run();
      } catch (const std::exception& e) {
        thrown = e.what();
      } catch (...) {
        thrown = "by something thrown";
      }
      this_thread().in_work = false;
      lock.lock();
      if (!thrown.empty()) problem("work on a stream has failed, " + thrown);
    }
    if (op.pass != nullptr) {
      op.pass->passed = true;
      op.pass->time = now_ms();
      op.pass->changed.notify_all();
    }
    if (w.queue.empty()) {
      w.busy = false;
      idle_.notify_all();
    }
  }
}

void machine::push(stream& s, operation op) {
  if (s.capture != nullptr) return s.capture->operations.push_back(std::move(op));
  s.runs_on->queue.push_back(std::move(op));
  s.runs_on->busy = true;
  s.runs_on->changed.notify_all();
}

bool machine::idle(const stream& s) const { return !s.runs_on->busy; }

void machine::host_saw(const order& o) { merge(host, o); }

allocation* machine::find(const void* p, std::uintptr_t* base) {
  const auto a = reinterpret_cast<std::uintptr_t>(p);
  auto next = allocations.upper_bound(a);
  if (next == allocations.begin()) return nullptr;
  --next;
  if (a >= next->first + next->second.size) return nullptr;
  if (base != nullptr) *base = next->first;
  return &next->second;
}

void machine::touch(stream& s, const memory_use& a, const char* call) {
  if (a.bytes == 0 || s.capture != nullptr) return;
  const std::string who = std::string(call) + " on stream " + std::to_string(s.id);
  std::uintptr_t base = 0;
  allocation* const memory = find(a.data, &base);
  const auto begin = reinterpret_cast<std::uintptr_t>(a.data);
  if (memory == nullptr) return problem(who + ": no device memory at " + hex(begin));
  if (begin + a.bytes > base + memory->size) return problem(who + ": beyond the end of the memory");
  if (memory->freed) return problem(who + ": use after free");
  if (!knows(s.now, memory->stream, memory->count)) {
    problem(who + ": the memory is used before its allocation on stream " +
            std::to_string(memory->stream) + " is waited for");
  }
  const use mine{s.device, s.id, s.now[s.id], begin, begin + a.bytes, a.writes};
  for (const use& u : memory->uses) {
    if (u.stream == s.id || u.end <= mine.begin || mine.end <= u.begin) continue;
    const bool dead = devices[static_cast<std::size_t>(u.device)].failure != cudaSuccess;
    if (!dead && (u.writes || mine.writes) && !knows(s.now, u.stream, u.count)) {
      problem(who + ": a race, for stream " + std::to_string(u.stream) +
              (u.writes ? " writes" : " reads") + " the same memory, and nothing orders the two");
      break;
    }
  }
  // What is ordered before this, and covered by it, can race with nothing that this does not.
  std::erase_if(memory->uses, [&](const use& u) {
    return mine.begin <= u.begin && u.end <= mine.end && (mine.writes || !u.writes) &&
           knows(s.now, u.stream, u.count);
  });
  memory->uses.push_back(mine);
}

void machine::release(stream& s, std::uintptr_t address) {
  allocation& memory = allocations.at(address);
  const std::string who = "cudaFreeAsync on stream " + std::to_string(s.id);
  if (!knows(s.now, memory.stream, memory.count)) {
    problem(who + ": the allocation on stream " + std::to_string(memory.stream) +
            " is not waited for");
  }
  for (const use& u : memory.uses) {
    const bool dead = devices[static_cast<std::size_t>(u.device)].failure != cudaSuccess;
    if (!dead && !knows(s.now, u.stream, u.count)) {
      problem(who + ": stream " + std::to_string(u.stream) + " may still use the memory");
      break;
    }
  }
  memory.freed = true;
  devices[static_cast<std::size_t>(memory.device)].used -= memory.size;
}

runtime::runtime(const options& o) { machine::get().start(o); }

runtime::~runtime() {
  const auto left = machine::get().stop();
  for (const auto& one : left) std::fprintf(stderr, "fake CUDA: %s\n", one.c_str());
  if (!left.empty() && std::uncaught_exceptions() == 0) std::abort();
}

std::vector<std::string> runtime::problems() const {
  machine& m = machine::get();
  const std::lock_guard lock(m.mutex);
  return m.problems;
}

std::vector<std::string> runtime::finish() { return machine::get().stop(); }

void runtime::fail(const std::string& call, int nth, cudaError_t code) {
  machine& m = machine::get();
  const std::lock_guard lock(m.mutex);
  m.injected[call] = {m.calls[call] + nth, code};
}

std::map<std::string, int> runtime::calls() const {
  machine& m = machine::get();
  const std::lock_guard lock(m.mutex);
  return m.calls;
}

void* find_memory(const void* device_address) {
  machine& m = machine::get();
  const std::lock_guard lock(m.mutex);
  if (!this_thread().in_work) {
    m.problem("host code asks for device memory");
    return nullptr;
  }
  std::uintptr_t base = 0;
  const allocation* const found = m.find(device_address, &base);
  if (found == nullptr || found->storage == nullptr) {
    throw std::logic_error("for its memory is not there (any more)");
  }
  return found->storage.get() + (reinterpret_cast<std::uintptr_t>(device_address) - base);
}

}  // namespace fake_cuda
