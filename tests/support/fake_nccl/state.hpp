#pragma once
// What the fake NCCL is made of. See fake_nccl.hpp.
#include "fake_nccl.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

namespace fake_nccl {

enum class op_kind {
  all_reduce,
  reduce_scatter,
  all_gather,
  broadcast,
  all_to_all,
  gather,
  scatter,
  send,
  recv
};
const char* name_of(op_kind kind) noexcept;

struct op {
  op_kind kind;
  const void* in;
  void* out;
  std::size_t count;
  ncclDataType_t type;
  ncclRedOp_t reduction;
  int root;  // or the peer
  cudaStream_t stream;
};
// Memory that an operation reads or writes.
struct region {
  const void* data;
  std::size_t size;
  bool writes;
};
[[nodiscard]] std::vector<region> regions(const op& o, int rank, int ranks);
[[nodiscard]] inline bool is_message(const op& o) noexcept {
  return o.kind == op_kind::send || o.kind == op_kind::recv;
}
[[nodiscard]] std::size_t size_of(ncclDataType_t type) noexcept;
[[nodiscard]] std::string words_of(const op& o);

// One message on its way: from where, and whether it was taken.
struct letter {
  const op* what;
  bool taken = false;
  bool withdrawn = false;
};

// Where the ranks of a communicator meet in one collective.
struct meeting {
  std::vector<const op*> arrived;
  int present = 0;
  int left = 0;
  bool done = false;
};

struct comm;

// The ranks of a communicator.
struct clique {
  explicit clique(int n)
      : size(n),
        members(static_cast<std::size_t>(n), nullptr),
        issued(static_cast<std::size_t>(n), 0),
        splits(static_cast<std::size_t>(n), 0) {}

  int size;
  bool first = false;         // made by an id, not by a split
  bool needs_root = false;    // its id is an address that rank 0 must listen at
  bool root_listens = false;  // and it does
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<comm*> members;
  std::vector<std::uint64_t> issued;  // collectives that each rank has called
  std::map<std::uint64_t, meeting> meetings;
  std::map<std::pair<int, int>, std::deque<letter*>> letters;
  int finalized = 0;
  int destroyed = 0;
  // Of a split: the ranks' choices, and what came of them.
  struct choice {
    int rank, color, key;
  };
  std::vector<std::uint64_t> splits;
  std::map<std::uint64_t, std::vector<choice>> choices;
  std::map<std::pair<std::uint64_t, int>, std::shared_ptr<clique>> parts;
};

// What one group, or one call alone, gives to a communicator.
struct plan {
  plan() = default;
  plan(const plan&) = delete;
  plan& operator=(const plan&) = delete;
  ~plan();

  std::shared_ptr<comm> owner;
  std::vector<op> ops;
  std::uint64_t number = 0;      // of the communicator's plans
  std::uint64_t operation = 0;   // of the rank's plans of all communicators
  std::uint64_t collective = 0;  // how many collectives the rank has called with it
  bool connects = false;         // is in progress until the peers have called it too
  bool captured = false;
};

// What is behind an ncclComm_t. Never freed before `reset`, so that use after the end is found.
struct comm {
  std::shared_ptr<clique> group;
  int rank = 0;
  int device = 0;
  bool blocking = true;
  std::atomic<ncclResult_t> state{ncclSuccess};
  std::atomic<bool> aborted{false};
  std::atomic<bool> dead{false};
  std::atomic<int> inside{0};   // threads that are in a call
  std::atomic<int> running{0};  // plans that a stream is in
  std::atomic<int> graphs{0};   // captured plans, which a graph may run at any time
  int polls_left = 0;
  std::function<bool()> next;  // what is in progress; whether it is done
  std::unique_ptr<plan> pending;
  bool finalize_called = false;
  bool finalize_done = false;
  std::uint64_t plans = 0;
  std::atomic<std::uint64_t> executed{0};  // plans that are not captured
  std::uint64_t collectives = 0;           // executed
  std::uint64_t operations = 0;            // called
  std::uint64_t split_count = 0;
  std::shared_ptr<comm> self;
};

inline plan::~plan() {
  if (captured) owner->graphs.fetch_sub(1);
}

// The whole library.
struct library {
  std::mutex notes;  // of the first three; taken last
  std::mt19937_64 random;
  std::vector<std::string> misuse;
  std::map<std::string, int> calls;

  std::atomic<int> runs{0};

  std::mutex mutex;  // of the rest; taken first
  settings how;
  std::vector<std::shared_ptr<comm>> comms;
  std::set<std::string> used_ids;
  std::map<std::string, std::shared_ptr<clique>> open_ids;
  std::uint64_t ids = 0;
  std::uint64_t generation = 0;
  bool released = false;
  std::condition_variable release;
};
library& lib();
void report(const std::string& words);
[[nodiscard]] std::uint64_t draw(std::uint64_t below);
// Whether the fault `kind` is due for operation `number` of this rank.
[[nodiscard]] bool due(const comm& c, fault kind, std::uint64_t number);

// Runs a plan on the stream that has come to it.
void run_plan(const plan& p);

}  // namespace fake_nccl
