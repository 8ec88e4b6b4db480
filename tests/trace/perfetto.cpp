#include <rondel/trace/perfetto.hpp>

#include <limits>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using nlohmann::json;
using rondel::timeline;
using rondel::timeline_lane;

namespace {

// The events of one phase, in file order.
std::vector<json> events(const json& document, const std::string& phase) {
  std::vector<json> out;
  for (const json& one : document.at("traceEvents")) {
    if (one.at("ph") == phase) out.push_back(one);
  }
  return out;
}

// The text of a number's field as it stands in the file.
std::string raw_field(const std::string& text, const std::string& key) {
  const std::size_t begin = text.find("\"" + key + "\":") + key.size() + 3;
  return text.substr(begin, text.find_first_of(",}", begin) - begin);
}

}  // namespace

TEST_CASE("an empty timeline is a valid trace") {
  const json document = json::parse(rondel::to_perfetto_json(timeline{}));
  CHECK(document.at("traceEvents").is_array());
  CHECK(document.at("traceEvents").empty());
  CHECK(document.at("otherData").at("dropped_spans") == 0);
}

TEST_CASE("processes are ranks, threads are lanes, and both are named and ordered") {
  timeline recorder;
  (void)recorder.lane(1, "compute");
  (void)recorder.lane(0, "compute");
  (void)recorder.lane(1, "comm");
  (void)recorder.lane(-1, "cluster");
  const json document = json::parse(rondel::to_perfetto_json(recorder));
  std::vector<std::vector<json>> found;
  for (const json& one : events(document, "M")) {
    const json& args = one.at("args");
    CHECK(args.size() == 1);
    found.push_back({one.at("name"), one.at("pid"), one.at("tid"), *args.begin()});
  }
  const std::vector<std::vector<json>> expected = {
      {"process_name", -1, 1, "no rank"}, {"process_sort_index", -1, 1, -1},
      {"thread_name", -1, 1, "cluster"},  {"thread_sort_index", -1, 1, 1},
      {"process_name", 0, 2, "rank 0"},   {"process_sort_index", 0, 2, 0},
      {"thread_name", 0, 2, "compute"},   {"thread_sort_index", 0, 2, 2},
      {"process_name", 1, 3, "rank 1"},   {"process_sort_index", 1, 3, 1},
      {"thread_name", 1, 3, "compute"},   {"thread_sort_index", 1, 3, 3},
      {"thread_name", 1, 4, "comm"},      {"thread_sort_index", 1, 4, 4}};
  CHECK(found == expected);
  for (const json& one : events(document, "M")) {
    const std::string name = one.at("name");
    CHECK(one.at("args").contains(name.ends_with("_name") ? "name" : "sort_index"));
  }
}

TEST_CASE("spans are complete events with achieved rates") {
  timeline recorder;
  timeline_lane& lane = recorder.lane(2, "compute");
  lane.add({"matmul", 3e9, 1000000, 500000}, 0.25, 0.251);
  lane.add({"copy", 0, 4096, 4096}, 0.5, 0.500001);
  lane.add({"mark", 7, 8, 9}, 1, 1);
  const json document = json::parse(rondel::to_perfetto_json(recorder));
  CHECK(document.at("displayTimeUnit") == "ns");
  const auto spans = events(document, "X");
  REQUIRE(spans.size() == 3);
  CHECK(spans[0].at("name") == "matmul");
  CHECK(spans[0].at("pid") == 2);
  CHECK(spans[0].at("tid") == 1);
  CHECK(spans[0].at("ts") == 250000.0);
  CHECK(spans[0].at("dur") == 1000.0);
  CHECK(spans[0].at("args") ==
        json({{"flops", 3000000000}, {"bytes", 1500000}, {"GFLOP/s", 3000}, {"GB/s", 1.5}}));
  CHECK(spans[1].at("args") == json({{"flops", 0}, {"bytes", 8192}, {"GB/s", 8.192}}));
  CHECK(spans[2].at("dur") == 0.0);
  CHECK(spans[2].at("args") == json({{"flops", 7}, {"bytes", 17}}));
}

TEST_CASE("times are exact to the nanosecond") {
  const auto text_of = [](double begin, double end) {
    timeline recorder;
    recorder.lane(0, "x").add({"x"}, begin, end);
    return rondel::to_perfetto_json(recorder);
  };
  CHECK(raw_field(text_of(0, 1e-9), "ts") == "0.000");
  CHECK(raw_field(text_of(0, 1e-9), "dur") == "0.001");
  CHECK(raw_field(text_of(1.5e-6, 2), "ts") == "1.500");
  CHECK(raw_field(text_of(1.6e-9, 2), "ts") == "0.002");
  CHECK(raw_field(text_of(-1.6e-9, 2), "ts") == "-0.002");
  CHECK(raw_field(text_of(0.123456789, 2), "ts") == "123456.789");
  CHECK(raw_field(text_of(86400.000000001, 86401), "ts") == "86400000000.001");
  CHECK(raw_field(text_of(-0.25, 0), "ts") == "-250000.000");
  CHECK(raw_field(text_of(-1e-9, 0), "ts") == "-0.001");
  CHECK(raw_field(text_of(0, 1e300), "dur") == "9000000000000000.000");
}

TEST_CASE("neighbours do not overlap by rounding") {
  timeline recorder;
  timeline_lane& lane = recorder.lane(0, "x");
  double time = 0.1;
  for (int i = 0; i < 1000; ++i) {
    const double next = time + 1e-6 / 3;
    lane.add({"x"}, time, next);
    time = next;
  }
  const auto spans = events(json::parse(rondel::to_perfetto_json(recorder)), "X");
  REQUIRE(spans.size() == 1000);
  const auto nanoseconds = [](const json& value) {
    return static_cast<long long>(value.get<double>() * 1000 + 0.5);
  };
  for (std::size_t i = 0; i + 1 < spans.size(); ++i) {
    REQUIRE(nanoseconds(spans[i].at("ts")) + nanoseconds(spans[i].at("dur")) ==
            nanoseconds(spans[i + 1].at("ts")));
  }
}

TEST_CASE("enclosing spans come before what they enclose") {
  timeline recorder;
  timeline_lane& lane = recorder.lane(0, "host");
  lane.add({"inner"}, 1, 2);
  lane.add({"later"}, 2.5, 3);
  lane.add({"outer"}, 1, 4);
  std::vector<std::string> names;
  for (const json& one : events(json::parse(rondel::to_perfetto_json(recorder)), "X")) {
    names.push_back(one.at("name"));
  }
  CHECK(names == std::vector<std::string>{"outer", "inner", "later"});
}

TEST_CASE("hostile names and numbers stay valid JSON") {
  const std::string hostile =
      "a\"b\\c/\n\t\x01\x1f\x7f\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80</script>";
  timeline recorder;
  timeline_lane& lane = recorder.lane(0, hostile);
  lane.add({hostile.c_str(), std::numeric_limits<double>::infinity(), 0xffffffffffffffff}, 0, 1);
  lane.add({"\xff\xfe cut \xe2\x82", std::numeric_limits<double>::quiet_NaN()}, 1, 2);
  lane.add({"", -1}, 2, 3);
  const json document = json::parse(rondel::to_perfetto_json(recorder));
  const auto spans = events(document, "X");
  REQUIRE(spans.size() == 3);
  CHECK(spans[0].at("name") == hostile);
  CHECK(spans[0].at("args").at("bytes") == 0xffffffffffffffff);
  CHECK(spans[0].at("args").at("flops") == 0);
  CHECK(spans[1].at("name") == "\xef\xbf\xbd\xef\xbf\xbd cut \xef\xbf\xbd\xef\xbf\xbd");
  CHECK(spans[2].at("name") == "");
  CHECK(events(document, "M")[2].at("args").at("name") == hostile);
}

TEST_CASE("a trace says what was dropped") {
  timeline recorder(1);
  timeline_lane& lane = recorder.lane(0, "x");
  for (int i = 0; i < 4; ++i) lane.add({"x"}, i, i + 1);
  const json document = json::parse(rondel::to_perfetto_json(recorder));
  CHECK(document.at("otherData").at("dropped_spans") == 3);
  CHECK(events(document, "X").size() == 1);
}
