#include <rondel/trace/summary.hpp>
#include <rondel/trace/timeline.hpp>

#include <atomic>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using rondel::timeline;
using rondel::timeline_lane;
using rondel::timeline_span;

TEST_CASE("lanes keep what is added, in order") {
  timeline recorder;
  timeline_lane& lane = recorder.lane(3, "compute");
  CHECK(lane.rank() == 3);
  CHECK(lane.name() == "compute");
  CHECK(lane.spans().empty());
  lane.add({"b", 8, 16, 32}, 2, 3);
  lane.add({"a", 1, 2, 4}, 0, 0);
  lane.add({nullptr}, -1, 1);
  REQUIRE(lane.spans().size() == 3);
  CHECK(lane.spans()[0] == timeline_span{"b", 2, 3, 8, 48});
  CHECK(lane.spans()[1] == timeline_span{"a", 0, 0, 1, 6});
  CHECK(lane.spans()[2].name == std::string());
}

TEST_CASE("spans that are no spans of time are refused") {
  timeline recorder;
  timeline_lane& lane = recorder.lane(0, "x");
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH_AS(
      lane.add({"late"}, 2, 1),
      "timeline_lane::add: 'late' from 2.000000 s to 1.000000 s is no span of time",
      rondel::invalid_argument);
  CHECK_THROWS_AS(lane.add({"x"}, nan, 1), rondel::invalid_argument);
  CHECK_THROWS_AS(lane.add({"x"}, 0, nan), rondel::invalid_argument);
  CHECK_THROWS_AS(lane.add({"x"}, 0, infinity), rondel::invalid_argument);
  CHECK_THROWS_AS(lane.add({"x"}, -infinity, 0), rondel::invalid_argument);
  CHECK(lane.spans().empty());
  CHECK(lane.dropped() == 0);
}

TEST_CASE("a timeline records unless it is stopped") {
  timeline recorder;
  timeline_lane& lane = recorder.lane(0, "x");
  CHECK(recorder.recording());
  lane.add({"kept"}, 0, 1);
  recorder.stop();
  CHECK_FALSE(recorder.recording());
  lane.add({"lost"}, 1, 2);
  recorder.start();
  CHECK(recorder.recording());
  lane.add({"kept"}, 2, 3);
  REQUIRE(lane.spans().size() == 2);
  CHECK(lane.spans()[1].begin == 2);
  CHECK(recorder.dropped() == 0);
}

TEST_CASE("lanes are bounded and count what they drop") {
  timeline recorder(3);
  timeline_lane& full = recorder.lane(0, "full");
  timeline_lane& other = recorder.lane(0, "other");
  for (int i = 0; i < 5; ++i) full.add({"x"}, i, i + 1);
  for (int i = 0; i < 4; ++i) other.add({"x"}, i, i + 1);
  CHECK(full.spans().size() == 3);
  CHECK(full.spans().back().begin == 2);
  CHECK(full.dropped() == 2);
  CHECK(recorder.dropped() == 3);
}

TEST_CASE("a reserved lane does not move its spans") {
  timeline recorder(100);
  timeline_lane& lane = recorder.lane(0, "x");
  lane.reserve(1000);
  CHECK(lane.spans().capacity() == 100);
  const timeline_span* place = lane.spans().data();
  for (int i = 0; i < 100; ++i) lane.add({"x"}, i, i + 1);
  CHECK(lane.spans().data() == place);
}

TEST_CASE("lanes are listed by rank, then by creation") {
  timeline recorder;
  const timeline_lane& c = recorder.lane(1, "same");
  const timeline_lane& a = recorder.lane(-1, "z");
  const timeline_lane& d = recorder.lane(1, "same");
  const timeline_lane& b = recorder.lane(0, "y");
  CHECK(recorder.lanes() == std::vector<const timeline_lane*>{&a, &b, &c, &d});
}

TEST_CASE("threads make lanes and record at the same time") {
  constexpr int threads = 4;
  constexpr int lanes_each = 8;
  constexpr int spans_each = 200;
  timeline recorder;
  std::atomic<int> ready{0};
  std::vector<std::thread> team;
  for (int rank = 0; rank < threads; ++rank) {
    team.emplace_back([&, rank] {
      ++ready;
      while (ready < threads) std::this_thread::yield();
      for (int l = 0; l < lanes_each; ++l) {
        timeline_lane& lane = recorder.lane(rank, std::to_string(l));
        for (int i = 0; i < spans_each; ++i) {
          const double begin = recorder.now();
          lane.add({"x", static_cast<double>(rank)}, begin, recorder.now());
        }
      }
    });
  }
  for (std::thread& one : team) one.join();
  const auto lanes = recorder.lanes();
  REQUIRE(lanes.size() == threads * lanes_each);
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    CHECK(lanes[i]->rank() == static_cast<int>(i) / lanes_each);
    CHECK(lanes[i]->name() == std::to_string(i % lanes_each));
    REQUIRE(lanes[i]->spans().size() == spans_each);
    double last = 0;
    for (const timeline_span& span : lanes[i]->spans()) {
      REQUIRE(span.begin >= last);
      REQUIRE(span.end >= span.begin);
      REQUIRE(span.flops == lanes[i]->rank());
      last = span.end;
    }
  }
}

TEST_CASE("a scope records its life once") {
  timeline recorder;
  timeline_lane& lane = recorder.lane(0, "host");
  const double before = recorder.now();
  {
    const rondel::scoped_span outer(&recorder, &lane, {"outer", 5, 6, 7});
    const rondel::scoped_span inner(&recorder, &lane, {"inner"});
    CHECK(lane.spans().empty());
  }
  const double after = recorder.now();
  REQUIRE(lane.spans().size() == 2);
  const timeline_span& inner = lane.spans()[0];
  const timeline_span& outer = lane.spans()[1];
  CHECK(inner.name == std::string("inner"));
  CHECK(outer.flops == 5);
  CHECK(outer.bytes == 13);
  CHECK(before <= outer.begin);
  CHECK(outer.begin <= inner.begin);
  CHECK(inner.end <= outer.end);
  CHECK(outer.end <= after);
}

TEST_CASE("a scope without a lane, a timeline or recording does nothing") {
  timeline recorder;
  timeline_lane& lane = recorder.lane(0, "host");
  { const rondel::scoped_span none(nullptr, nullptr, {"x"}); }
  { const rondel::scoped_span none(&recorder, nullptr, {"x"}); }
  { const rondel::scoped_span none(nullptr, &lane, {"x"}); }
  recorder.stop();
  {
    const rondel::scoped_span none(&recorder, &lane, {"x"});
    recorder.start();
  }
  {
    const rondel::scoped_span none(&recorder, &lane, {"x"});
    recorder.stop();
  }
  CHECK(lane.spans().empty());
}

TEST_CASE("busy time is the union of the spans") {
  timeline recorder;
  timeline_lane& lane = recorder.lane(0, "x");
  CHECK(rondel::busy_intervals(lane.spans()).empty());
  lane.add({"late", 1, 10, 20}, 10, 12);
  lane.add({"outer", 2}, 1, 5);
  lane.add({"inner", 4, 1, 1}, 2, 3);
  lane.add({"touches", 8}, 5, 6);
  lane.add({"crosses", 16}, 5.5, 7);
  const std::vector<rondel::time_interval> expected = {{1, 7}, {10, 12}};
  CHECK(rondel::busy_intervals(lane.spans()) == expected);

  const rondel::lane_summary sum = rondel::summarize(lane);
  CHECK(sum.spans == 5);
  CHECK(sum.begin == 1);
  CHECK(sum.end == 12);
  CHECK(sum.busy == 8);
  CHECK(sum.idle == 3);
  CHECK(sum.flops == 31);
  CHECK(sum.bytes == 32);
}

TEST_CASE("a lane without spans sums to nothing") {
  timeline recorder;
  const rondel::lane_summary sum = rondel::summarize(recorder.lane(0, "x"));
  CHECK(sum.spans == 0);
  CHECK(sum.begin == 0);
  CHECK(sum.end == 0);
  CHECK(sum.busy == 0);
  CHECK(sum.idle == 0);
}

TEST_CASE("overlap is the time in which both lanes are busy") {
  timeline recorder;
  timeline_lane& compute = recorder.lane(0, "compute");
  timeline_lane& comm = recorder.lane(0, "comm");
  CHECK(rondel::overlap(compute, comm) == 0);
  compute.add({"a"}, 0, 4);
  compute.add({"b"}, 6, 8);
  compute.add({"b again"}, 7, 8);
  CHECK(rondel::overlap(compute, comm) == 0);
  comm.add({"hidden"}, 1, 2);
  CHECK(rondel::overlap(compute, comm) == 1);
  comm.add({"half hidden"}, 3, 6.5);
  CHECK(rondel::overlap(compute, comm) == 2.5);
  comm.add({"exposed"}, 8, 20);
  CHECK(rondel::overlap(compute, comm) == 2.5);
  CHECK(rondel::overlap(comm, compute) == 2.5);
  CHECK(rondel::overlap(compute, compute) == 6);

  // Fixed grids: spans [3i, 3i + 2) and [2j, 2j + 1) share 4 seconds of every 6.
  timeline grids;
  timeline_lane& three = grids.lane(0, "three");
  timeline_lane& two = grids.lane(0, "two");
  for (int i = 0; i < 200; ++i) three.add({"x"}, 3 * i, 3 * i + 2);
  for (int j = 0; j < 300; ++j) two.add({"y"}, 2 * j, 2 * j + 1);
  CHECK(rondel::overlap(three, two) == 200);
  CHECK(rondel::summarize(three).busy == 400);
  CHECK(rondel::summarize(three).idle == 199);
}
