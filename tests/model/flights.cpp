// The flight recorder: a rank's host overwrites records, its streams note how far they are, and
// another thread reads.
#include <rondel/core/operation.hpp>
#include <rondel/trace/flight_recorder.hpp>

#include "scenario.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace {

using model::add;
using model::check_found;
using model::check_found_always;
using model::check_holds;
using model::check_holds_always;
using model::drop;
using model::repeat;
using model::require;
using model::run_ranks;
using model::run_threads;
using model::weaken;
using rondel::flight_call;
using rondel::flight_log;
using rondel::flight_piece;
using rondel::flight_recorder;
using rondel::flight_state;
using rondel::operation_kind;
namespace sync = rondel::detail::sync;

constexpr std::uint64_t many = 100'000;
constexpr std::size_t most_calls = 4;

// Call `i` has `i` in every word. Every second one is a message.
bool is_message(std::uint64_t i) { return i % 2 == 0; }
std::uint64_t collectives_to(std::uint64_t i) { return (i + 1) / 2; }
const char* reduction_of(std::uint64_t i) {
  constexpr std::array names{"", "first", "second", "third", "fourth"};
  return names[i];
}
std::size_t pieces_of(std::uint64_t i) { return i == 2 ? 2 : 1; }

flight_call issue(flight_log& log, std::uint64_t i) {
  flight_call call =
      log.issue({.kind = is_message(i) ? operation_kind::send_recv : operation_kind::all_reduce,
                 .type = static_cast<rondel::dtype>(i),
                 .reduction = reduction_of(i),
                 .in_rank_order = i == 1,
                 .root = static_cast<int>(i),
                 .count = is_message(i) ? 0 : i,
                 .layout = i},
                i, i == 1);
  if (is_message(i)) call.messages(static_cast<int>(i), static_cast<int>(i), i);
  return call;
}

// All words are of the call that the sequence names. What a message adds may not be there yet.
void check_whole(const rondel::flight_record& r) {
  const std::uint64_t i = r.sequence;
  const int n = static_cast<int>(i);
  require(
      r.order <= i && r.communicator == 5 && r.collective == collectives_to(i) &&
          r.op.kind == (is_message(i) ? operation_kind::send_recv : operation_kind::all_reduce) &&
          r.op.type == static_cast<rondel::dtype>(i) && r.op.root == n &&
          r.op.in_rank_order == (i == 1) && r.on_host == (i == 1) &&
          r.op.reduction == reduction_of(i),
      "a torn record of call " + std::to_string(i));
  if (is_message(i)) {
    require((r.to == n && r.from == n) || (r.to == -1 && r.from == -1), "torn peers");
    require(r.op.count == i || r.op.count == 0, "torn bytes");
  } else {
    require(r.op.count == i && r.op.layout == i && r.to == -1 && r.from == -1, "a torn layout");
  }
}

// The recorder of one rank, and what is known of its calls.
class world {
 public:
  explicit world(std::size_t records)
      : recorder_(1, records), log_(recorder_.log(recorder_.open(5, {0}), 0)) {}

  [[nodiscard]] flight_log& log() noexcept { return log_; }

  // Runs piece `p` of call `i`; the last one does what the call is for.
  void run(std::uint64_t i, std::size_t p, const flight_piece& piece) {
    piece.start();
    if (p + 1 == pieces_of(i)) done_[i] = true;
    piece.finish();
  }

  // Makes and runs the calls from `first` to `last`.
  void make(std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t i = first; i <= last; ++i) {
      flight_call call = issue(log_, i);
      for (std::size_t p = 0; p < pieces_of(i); ++p) run(i, p, call.piece());
      call.close();
    }
  }

  // Looks `times` times, where the first `completed` calls are known to be. No record is torn, no
  // call becomes less done than it was, and who finds one completed may use what it did.
  void look(int times, std::uint64_t completed = 0) {
    std::array<flight_state, most_calls + 1> seen{};
    std::fill_n(seen.begin(), completed + 1, flight_state::completed);
    for (int time = 0; time < times; ++time) {
      const auto snapshot = recorder_.snapshot();
      std::uint64_t before = 0;
      for (const rondel::flight_record& r : snapshot.ranks[0]) {
        require(r.sequence > before, "records out of order");
        before = r.sequence;
        require(r.sequence >= 1 && r.sequence <= most_calls, "a call that nobody made");
        check_whole(r);
        require(r.state >= seen[r.sequence], "a call is less done than it was");
        seen[r.sequence] = r.state;
        if (r.state == flight_state::completed) require(done_[r.sequence], "completed too early");
        require(snapshot.communicators[0].collectives[0] >= r.collective, "a call is not counted");
      }
    }
  }

 private:
  flight_recorder recorder_;
  flight_log log_;
  std::array<sync::plain<bool>, most_calls + 1> done_;
};

// The host runs its calls itself, in one entry; the readers know that the first one is done.
void host_and_readers(std::uint64_t calls, int readers, int looks) {
  world w(1);
  w.make(1, 1);
  run_ranks(readers + 1, [&](int i) { i == 0 ? w.make(2, calls) : w.look(looks, 1); });
}

// A stream runs what the host has queued, or has not come to it when its entry would be next.
void host_stream_and_reader(std::size_t records, std::uint64_t calls, int looks) {
  world w(records);
  std::vector<flight_piece> pieces(2 * most_calls, flight_piece(nullptr, 0));
  sync::atomic<std::uint64_t> queued{0};
  run_threads(
      [&] {
        for (std::uint64_t i = 1, n = 0; i <= calls; ++i) {
          flight_call call = issue(w.log(), i);
          for (std::size_t p = 0; p < pieces_of(i); ++p) {
            pieces[n++] = call.piece();
            queued.store(n);
            queued.notify_one();
          }
          call.close();
        }
      },
      [&] {
        for (std::uint64_t i = 1, n = 0; i <= calls; ++i) {
          for (std::size_t p = 0; p < pieces_of(i); ++p, ++n) {
            for (std::uint64_t now = queued.load(); now <= n; now = queued.load()) queued.wait(now);
            w.run(i, p, pieces[n]);
          }
        }
      },
      [&] { w.look(looks); });
}

TEST_CASE("records that are overwritten while they are read") {
  check_holds("a host and 2 readers, 1 entry", many, {}, [] { host_and_readers(3, 2, 2); });
  check_holds("a host, its stream and a reader, 1 entry", many, {},
              [] { host_stream_and_reader(1, 3, 2); });
  check_holds("a host, its stream and a reader, 2 entries", many, {},
              [] { host_stream_and_reader(2, 4, 2); });
}
TEST_CASE("all interleavings of small ones") {
  check_holds_always("an entry is overwritten twice", 1, [] { host_and_readers(3, 1, 1); });
}

// What the checker finds where the code is weaker than it is.
TEST_CASE("planted faults of records") {
  constexpr auto relaxed = std::memory_order_relaxed;
  check_found_always("an entry is overwritten twice", 1,
                     {{drop("e.guard.store(2 * issued_ - 1"), "torn"},
                      {repeat("e.guard.load(acquire) != guard"), "torn"},
                      {weaken("e.guard.store(2 * issued_, release", relaxed), "torn"},
                      {weaken("guard = e.guard.load(", relaxed), "torn"},
                      {weaken("e.place.store(", relaxed), "torn"},
                      {weaken("e.what.store(", relaxed), "torn"},
                      {weaken("e.count.store(", relaxed), "torn"},
                      {weaken("e.layout.store(", relaxed), "torn"},
                      {weaken("e.reduction.store(", relaxed), "torn"},
                      {weaken("e.progress.store(0", relaxed), "less done"},
                      {weaken("e.extent.store(", relaxed), "torn"},
                      {weaken("entry_->count.store(", relaxed), "torn"},
                      {weaken("entry_->layout.store(", relaxed), "torn"},
                      {weaken("what = e.what.load(", relaxed), "torn"},
                      {weaken("layout = e.layout.load(", relaxed), "torn"},
                      {weaken("reduction = e.reduction.load(", relaxed), "torn"},
                      {weaken("collective = e.extent.load(", relaxed), "torn"}},
                     [] { host_and_readers(3, 1, 1); });
  check_found("a host, its stream and a reader, 1 entry", {},
              {{weaken("entry_->extent.store(", relaxed), "torn"},
               {weaken("entry_->progress.store(", relaxed), "data race"},
               {weaken("pieces != 0 && progress.load(", relaxed), "data race"},
               {add("pieces != 0 && progress.load(", 4), "completed too early"}},
              [] { host_stream_and_reader(1, 3, 2); });
}

}  // namespace
