// Where ranks part, found from records made by hand.
#include <rondel/trace/flight_recorder.hpp>
#include <rondel/trace/flight_report.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

namespace {

using rondel::dtype;
using rondel::flight_call;
using rondel::flight_fault;
using rondel::flight_log;
using rondel::flight_recorder;
using rondel::flight_state;
using rondel::operation;
using rondel::operation_kind;

const operation sum{
    .kind = operation_kind::all_reduce, .type = dtype::f32, .reduction = "sum", .count = 1024};
const operation spread{
    .kind = operation_kind::broadcast, .type = dtype::f32, .root = 0, .count = 8};
const operation all_meet{.kind = operation_kind::barrier};
const operation message{.kind = operation_kind::send_recv};

enum how { done, waits, queued };

// Ranks that record by hand.
class ranks {
 public:
  explicit ranks(int n, std::size_t records = 8) : recorder(n, records) {
    std::vector<int> all;
    for (int r = 0; r < n; ++r) all.push_back(r);
    world = join(0, all);
  }

  // The logs of a new communicator, one for each of `members`.
  std::vector<flight_log> join(std::uint64_t number, const std::vector<int>& members) {
    auto group = recorder.open(number, members);
    std::vector<flight_log> out;
    for (std::size_t r = 0; r < members.size(); ++r) {
      out.push_back(recorder.log(group, static_cast<int>(r)));
    }
    return out;
  }

  static void call(flight_log& log, const operation& op, std::uint64_t sequence, how state,
                   int to = -1, int from = -1) {
    flight_call made = log.issue(op, sequence);
    const auto piece = made.piece();
    if (!is_collective(op.kind)) made.messages(to, from, 12);
    made.close();
    if (state != queued) piece.start();
    if (state == done) piece.finish();
  }

  flight_recorder recorder;
  std::vector<flight_log> world;
};

TEST_CASE("a rank that calls something else is marked") {
  ranks four(4);
  for (std::size_t r = 0; r < 4; ++r) {
    ranks::call(four.world[r], sum, 1, done);
    ranks::call(four.world[r], all_meet, 2, done);
    ranks::call(four.world[r], r == 2 ? spread : sum, 3, waits);
  }
  const auto at = first_divergence(four.recorder.snapshot());
  CHECK(at.fault == flight_fault::mismatch);
  CHECK(at.ranks == std::vector<int>{2});
  CHECK(at.collective == 3);
  CHECK(to_table(four.recorder.snapshot()) ==
        "rank 2 is the first to diverge: it called broadcast(root 0, 8 x f32) #3 where the others "
        "called "
        "all_reduce(sum, 1024 x f32) #3\n"
        "  call                            ranks 0, 1 and 3  rank 2\n"
        "  all_reduce(sum, 1024 x f32) #1  done              done\n"
        "  barrier #2                      done              done\n"
        "  all_reduce(sum, 1024 x f32) #3  waits             > broadcast(root 0, 8 x f32) #3");
}

TEST_CASE("another count, type, root, reduction or layout is another call") {
  const auto with = [&](const auto& change) {
    ranks three(3);
    operation odd{
        .kind = operation_kind::reduce_scatter, .reduction = "sum", .root = -1, .count = 6};
    for (auto& log : three.world) {
      const bool last = &log == &three.world[1];
      operation op = odd;
      if (last) change(op);
      ranks::call(log, op, 1, waits);
    }
    const auto at = first_divergence(three.recorder.snapshot());
    CHECK(at.fault == flight_fault::mismatch);
    CHECK(at.ranks == std::vector<int>{1});
  };
  with([](operation& op) { op.count = 7; });
  with([](operation& op) { op.type = dtype::i64; });
  with([](operation& op) { op.root = 1; });
  with([](operation& op) { op.reduction = "max"; });
  with([](operation& op) { op.in_rank_order = true; });
  with([](operation& op) { op.layout = 5; });
}

TEST_CASE("a rank that has not come is marked, and one that waits elsewhere is not") {
  ranks three(3);
  auto pair = three.join(4, {1, 2});
  for (auto& log : three.world) ranks::call(log, all_meet, 1, done);
  // Rank 0 waits for 1, and 1 in the pair for 2, which has called nothing more.
  ranks::call(three.world[0], sum, 2, waits);
  ranks::call(pair[0], all_meet, 1, waits);
  const auto at = first_divergence(three.recorder.snapshot());
  CHECK(at.fault == flight_fault::missing);
  CHECK(at.ranks == std::vector<int>{2});
  CHECK(at.text ==
        "rank 2 is the first to diverge: it is not in all_reduce(sum, 1024 x f32) #2, where rank 0 "
        "waits; the last call of rank 2 was barrier #1");
}

TEST_CASE("a stream that has not come to a call is told from a rank that has not made it") {
  ranks two(2);
  ranks::call(two.world[0], sum, 1, waits);
  ranks::call(two.world[1], sum, 1, queued);
  const auto at = first_divergence(two.recorder.snapshot());
  CHECK(at.fault == flight_fault::behind);
  CHECK(at.ranks == std::vector<int>{1});
  CHECK(to_table(two.recorder.snapshot()).find("> queued") != std::string::npos);
}

TEST_CASE("messages may be missing too, and do not shift the count of collective calls") {
  ranks three(3);
  for (std::size_t r = 0; r < 3; ++r) {
    // Ranks 0 and 1 exchange a message first, so that their numbers are one ahead.
    if (r < 2) ranks::call(three.world[r], message, 1, done, 1 - static_cast<int>(r));
    ranks::call(three.world[r], sum, r < 2 ? 2 : 1, done);
  }
  CHECK(first_divergence(three.recorder.snapshot()).fault == flight_fault::none);
  CHECK(to_table(three.recorder.snapshot()).empty());
  ranks::call(three.world[0], message, 3, waits, 2);
  const auto at = first_divergence(three.recorder.snapshot());
  CHECK(at.fault == flight_fault::missing);
  CHECK(at.ranks == std::vector<int>{2});
  CHECK(at.text ==
        "rank 2 is the first to diverge: rank 0 waits for it in send_recv #3 to rank 2; the last "
        "call "
        "of rank 2 was all_reduce(sum, 1024 x f32) #1");
}

TEST_CASE("ranks that wait for each other are all named") {
  ranks two(2);
  auto pair = two.join(1, {0, 1});
  ranks::call(two.world[0], sum, 1, waits);
  ranks::call(pair[1], sum, 1, waits);
  const auto at = first_divergence(two.recorder.snapshot());
  CHECK(at.fault == flight_fault::circle);
  CHECK(at.text ==
        "the ranks wait for each other: rank 0 waits in all_reduce(sum, 1024 x f32) #1 for rank 1; "
        "rank "
        "1 waits in all_reduce(sum, 1024 x f32) #1 of communicator 1 for rank 0");
}

TEST_CASE("the known failure tells who is missing from who is only slow") {
  ranks three(3);
  ranks::call(three.world[0], sum, 1, waits);
  auto snapshot = three.recorder.snapshot();
  CHECK(first_divergence(snapshot).ranks == std::vector<int>{1, 2});
  snapshot.failed = 2;
  CHECK(first_divergence(snapshot).ranks == std::vector<int>{2});
}

TEST_CASE("calls that wait are kept, however many follow") {
  ranks one(1, 4);
  ranks::call(one.world[0], spread, 1, waits);
  for (std::uint64_t i = 2; i < 50; ++i) ranks::call(one.world[0], sum, i, done);
  const auto records = one.recorder.snapshot().ranks[0];
  REQUIRE(records.size() == 4);
  CHECK(records[0].sequence == 1);
  CHECK(records[0].state == flight_state::started);
  CHECK(records[3].sequence == 49);
  CHECK(records[3].op.count == 1024);
  // Where nothing may be overwritten, nothing more is recorded, and that is no missing call.
  ranks two(2, 2);
  for (std::uint64_t i = 1; i < 5; ++i) ranks::call(two.world[0], sum, i, queued);
  for (std::uint64_t i = 1; i < 3; ++i) ranks::call(two.world[1], sum, i, done);
  ranks::call(two.world[1], sum, 3, waits);
  CHECK(first_divergence(two.recorder.snapshot()).fault != flight_fault::missing);
}

TEST_CASE("a recorder of no records records nothing") {
  ranks two(2, 0);
  ranks::call(two.world[0], sum, 1, waits);
  CHECK(two.recorder.snapshot().ranks.empty());
  CHECK(to_table(two.recorder.snapshot()).empty());
}

// That no record is ever torn is shown in tests/model; this is for the thread sanitizer.
TEST_CASE("records and communicators may be written while they are read") {
  constexpr std::uint64_t calls = 100'000;
  ranks one(1, 4);
  const std::jthread writer([&] {
    for (std::uint64_t i = 1; i <= calls; ++i) {
      operation op = sum;
      op.count = i;
      ranks::call(one.world[0], op, i, done);
      if (i % 1'000 == 0) (void)one.join(i, {0});
    }
  });
  for (std::uint64_t last = 0; last < calls;) {
    const auto snapshot = one.recorder.snapshot();
    last = 0;
    for (const auto& record : snapshot.ranks[0]) {
      REQUIRE(record.sequence > last);
      REQUIRE(record.op.count == record.sequence);
      last = record.sequence;
    }
  }
}

}  // namespace
