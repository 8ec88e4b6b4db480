#pragma once
// What the fake CUDA runtime consists of. All of it is guarded by `machine::mutex`.
#include "fake_cuda.hpp"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace fake_cuda {

// How many operations of each stream come before something, as the calls order them.
using order = std::map<std::uint64_t, std::uint64_t>;

// One record of an event.
struct point {
  bool passed = false;
  int device = 0;
  order before;
  std::condition_variable changed;
  double time = 0;  // when it passed, in ms
};

struct operation {
  std::function<void()> run;              // may be empty
  std::shared_ptr<point> wait_for, pass;  // before and after it
};

// What a capture took instead of running it, in the order of the calls.
struct graph {
  std::vector<operation> operations;
};

// A thread that serves one stream at a time. Kept for the next stream, because threads are slow to
// start.
struct worker {
  std::thread thread;
  std::condition_variable changed;
  std::deque<operation> queue;
  std::mt19937 random;
  int device = 0;
  bool busy = false;
  bool stop = false;
};

struct stream {
  std::uint64_t id = 0;
  int device = 0;
  worker* runs_on = nullptr;
  order now;
  std::shared_ptr<graph> capture;  // that takes what is queued
};

struct event {
  int device = 0;
  bool timed = false;
  std::shared_ptr<point> newest;   // null if never recorded
  std::shared_ptr<graph> capture;  // that the newest record is part of
};

struct pool {
  int device = 0;
  std::set<int> open_to;  // other devices that may touch its memory
  bool destroyed = false;
};

struct use {
  int device;  // of the stream
  std::uint64_t stream, count;
  std::uintptr_t begin, end;
  bool writes;
};

struct allocation {
  int device = 0;
  std::size_t size = 0;
  std::uint64_t pool = 0;
  std::uint64_t stream = 0, count = 0;  // the operation that allocated it
  std::unique_ptr<std::byte[]> storage;
  bool freed = false;  // by a call; the storage goes in the order of the stream
  std::vector<use> uses;
};

// Freed when neither the user nor queued work holds it.
struct pinned_block {
  explicit pinned_block(std::size_t bytes) : storage(bytes) {}
  std::vector<std::byte> storage;
  int uses = 0;  // by queued work
};

struct device {
  cudaError_t failure = cudaSuccess;
  std::size_t used = 0;
  std::set<int> peers;
};

class machine {
 public:
  static machine& get();
  machine();
  ~machine();

  void start(const options& o);
  std::vector<std::string> stop();

  // Queues `op` on `s`, in whose order it is from now on.
  void push(stream& s, operation op);
  // The stream's operation that is about to be pushed touches this memory.
  void touch(stream& s, const memory_use& a, const char* call);
  void release(stream& s, std::uintptr_t address);
  void host_saw(const order& o);
  void problem(std::string text) { problems.push_back(std::move(text)); }
  [[nodiscard]] bool idle(const stream& s) const;
  worker* hire(int device);

  static constexpr std::uintptr_t first_address = 0x00b0'0000'0000'0000;
  static constexpr std::uintptr_t device_stride = 0x0000'1000'0000'0000;
  static constexpr int most_devices = 16;
  [[nodiscard]] static bool is_device_address(const void* p) {
    const auto a = reinterpret_cast<std::uintptr_t>(p);
    return a >= first_address && a < first_address + most_devices * device_stride;
  }
  // The allocation that holds `p`, or null.
  [[nodiscard]] allocation* find(const void* p, std::uintptr_t* base = nullptr);

  std::mutex mutex;
  options setup;
  std::vector<std::string> problems;
  std::vector<device> devices;
  std::map<std::uint64_t, stream> streams;
  std::map<std::uint64_t, event> events;
  std::map<std::uint64_t, pool> pools;
  std::map<std::uint64_t, std::shared_ptr<graph>> graphs;  // those that can be launched too
  std::map<std::uintptr_t, allocation> allocations;
  std::map<const void*, std::shared_ptr<pinned_block>> pinned;
  std::vector<std::uintptr_t> next_address;
  std::map<std::string, int> calls;
  std::map<std::string, std::pair<int, cudaError_t>> injected;  // the number of the call that fails
  order host;                                                   // what the host knows to be done
  std::uint64_t last_handle = 0x10;

 private:
  void serve(worker& w);

  std::vector<std::unique_ptr<worker>> workers_;
  std::condition_variable idle_;
  std::mt19937 random_;
};

// State of the calling thread.
struct thread_state {
  int current = 0;
  cudaError_t last_error = cudaSuccess;
  bool in_work = false;
  int work_device = 0;
};
thread_state& this_thread();

}  // namespace fake_cuda
