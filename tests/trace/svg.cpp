#include <rondel/trace/svg.hpp>

#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <xml_check.hpp>

using rondel::svg_options;
using rondel::timeline;
using rondel::timeline_lane;
using rondel::to_svg;
using rondel_test::read_xml;
using rondel_test::xml_document;

namespace {

xml_document drawn(const timeline& recorder, const svg_options& options = {}) {
  xml_document out = read_xml(to_svg(recorder, options));
  REQUIRE(out.fault == "");
  return out;
}

// Texts of the marks on the first time axis.
std::vector<std::string> ticks(const xml_document& document) {
  std::vector<std::string> out;
  for (const auto& one : document.find("text", "m")) {
    if (one.attribute("class") == "m k") out.push_back(one.text);
  }
  return out;
}

// Fill of the legend's swatch for `name`; the swatch stands before the text.
std::string legend_color(const xml_document& document, const std::string& name) {
  for (std::size_t i = 1; i < document.elements.size(); ++i) {
    if (document.elements[i].name == "text" && document.elements[i].text == name &&
        document.elements[i - 1].name == "rect" &&
        document.elements[i - 1].attribute("width") == "12") {
      return document.elements[i - 1].attribute("fill");
    }
  }
  return "";
}

// Two ranks with two lanes each.
void fill(timeline& recorder) {
  for (int rank = 0; rank < 2; ++rank) {
    timeline_lane& compute = recorder.lane(rank, "compute");
    timeline_lane& comm = recorder.lane(rank, "comm");
    compute.add({"forward", 2e9, 1000, 500}, 0, 0.04);
    compute.add({"backward", 4e9}, 0.04, 0.08);
    comm.add({"all_reduce", 0, 6000000, 4000000}, 0.06, 0.1);
  }
}

// Width in pixels of a span's stroke.
double stroke(const xml_document::element& path) {
  const std::string d = path.attribute("d");
  return std::stod(d.substr(d.find('h') + 1));
}

}  // namespace

TEST_CASE("the checker tells well-formed documents from others") {
  CHECK(read_xml("<a b=\"c\"><d/>x&amp;y</a>").fault == "");
  for (const char* bad :
       {"", "<a>", "<a></b>", "<a/><b/>", "<a>&</a>", "<a>&x;</a>", "<a b=c/>", "<a b=\"<\"/>",
        "<a>\x01</a>", "x<a/>", "<a b=\"1\" b=\"2\"/>", "<a b=\"", "<a", "</a>"}) {
    CAPTURE(bad);
    CHECK(read_xml(bad).fault != "");
  }
}

TEST_CASE("a picture shows lanes, ticks, names, shares and tooltips") {
  timeline recorder;
  fill(recorder);
  const xml_document document = drawn(recorder, {.title = "Two ranks"});
  const auto& root = document.elements.front();
  CHECK(root.name == "svg");
  CHECK(root.attribute("xmlns") == "http://www.w3.org/2000/svg");
  CHECK(root.attribute("width") == "1200");
  CHECK(document.has_text("text", "Two ranks"));
  CHECK(document.has_text("text", "2 ranks, 4 lanes, 6 spans in 100 ms"));
  CHECK(document.has_text("text", "rank 0"));
  CHECK(document.has_text("text", "rank 1"));
  CHECK(document.has_text("text", "compute"));
  CHECK(document.has_text("text", "comm"));
  CHECK(document.has_text("text", "80 %"));
  CHECK(document.has_text("text", "40 %"));
  CHECK(ticks(document) == std::vector<std::string>{"0 ms", "10 ms", "20 ms", "30 ms", "40 ms",
                                                    "50 ms", "60 ms", "70 ms", "80 ms", "90 ms"});
  CHECK(document.has_text("title", "forward: 40 ms at 0 s, 50 GFLOP/s, 37.5 kB/s"));
  CHECK(document.has_text("title", "backward: 40 ms at 40 ms, 100 GFLOP/s"));
  CHECK(document.has_text("title", "all_reduce: 40 ms at 60 ms, 250 MB/s"));
  CHECK(document.find("title").size() == 6);
  CHECK(document.find("text", "k").size() == 10 + 6);    // ticks, and a name in each span
  CHECK(document.find("rect").size() == 1 + 2 + 4 + 3);  // page, ranks, lanes, legend
  CHECK(document.find("tspan").size() == 3);
  CHECK(document.has_text("tspan", "80 ms, 33.3 %"));
  CHECK(document.find("script").empty());
}

TEST_CASE("strokes are where the time is") {
  timeline recorder;
  timeline_lane& lane = recorder.lane(0, "x");
  lane.add({"first"}, 10, 11);
  lane.add({"second"}, 13, 14);
  const xml_document document = drawn(recorder);
  const auto strokes = document.find("path", "l0");
  REQUIRE(strokes.size() == 2);
  const double width = stroke(strokes[0]) + 0.6;
  CHECK(stroke(strokes[1]) + 0.6 == doctest::Approx(width));
  const double left = std::stod(strokes[0].attribute("d").substr(1));
  const double right = std::stod(strokes[1].attribute("d").substr(1));
  CHECK(right - left == doctest::Approx(3 * width).epsilon(0.001));
  // The plot ends where the column of shares begins.
  CHECK(right + width == doctest::Approx(1200 - 62).epsilon(0.001));
}

TEST_CASE("ticks follow the window and have its unit") {
  timeline recorder;
  recorder.lane(0, "x").add({"a"}, 0, 100);
  const auto window = [&](double from, double to) {
    return ticks(drawn(recorder, {.title = "t", .width = 600, .from = from, .to = to}));
  };
  CHECK(window(0, 100) == std::vector<std::string>{"0 s", "20 s", "40 s", "60 s", "80 s"});
  CHECK(window(50, 50.001) == std::vector<std::string>{"50000 ms", "50000.5 ms"});
  CHECK(window(0, 2e-6) == std::vector<std::string>{"0 us", "0.5 us", "1 us", "1.5 us"});
  CHECK(window(0, 3e-8) ==
        std::vector<std::string>{"0 ns", "5 ns", "10 ns", "15 ns", "20 ns", "25 ns"});
  CHECK(window(-1, 1) == std::vector<std::string>{"-1 s", "-0.5 s", "0 s", "0.5 s", "1 s"});
  for (const double to : {1e-300, 1e-12, 1e-6, 1.0, 1e9, 1e300}) {
    CAPTURE(to);
    const auto marks = window(0, to);
    CHECK(marks.size() <= 12);
    CHECK((to < 1e-11 || to > 1e18 || marks.size() >= 2));
  }
}

TEST_CASE("a window cuts spans and shares") {
  timeline recorder;
  timeline_lane& lane = recorder.lane(0, "x");
  lane.add({"before"}, 0, 1);
  lane.add({"across"}, 1, 5);
  lane.add({"after"}, 9, 10);
  const xml_document document = drawn(recorder, {.from = 2, .to = 8});
  CHECK(document.find("title").size() == 1);
  CHECK(document.has_text("text", "1 rank, 1 lane, 1 span in 6 s"));
  CHECK(document.has_text("text", "50 %"));
  CHECK(document.has_text("tspan", "3 s, 100 %"));
  CHECK_FALSE(document.has_text("text", "before"));
  CHECK_FALSE(document.has_text("text", "after"));
}

TEST_CASE("options are checked") {
  timeline recorder;
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS((void)to_svg(recorder, {.width = 479}), rondel::invalid_argument);
  CHECK_THROWS_AS((void)to_svg(recorder, {.from = 2, .to = 2}), rondel::invalid_argument);
  CHECK_THROWS_AS((void)to_svg(recorder, {.from = nan}), rondel::invalid_argument);
  CHECK(read_xml(to_svg(recorder, {.width = 480})).fault == "");
}

TEST_CASE("a timeline without spans gives a picture that says so") {
  timeline recorder;
  CHECK(drawn(recorder).has_text("text", "No spans were recorded in this time."));
  timeline_lane& lane = recorder.lane(0, "x");
  CHECK(drawn(recorder).has_text("text", "No spans were recorded in this time."));
  lane.add({"a"}, 0, 1);
  CHECK(drawn(recorder, {.from = 2}).has_text("text", "No spans were recorded in this time."));
  CHECK_FALSE(drawn(recorder).has_text("text", "No spans were recorded in this time."));
}

TEST_CASE("a single moment can be drawn") {
  timeline recorder;
  recorder.lane(0, "x").add({"a"}, 5, 5);
  const xml_document document = drawn(recorder);
  CHECK(document.has_text("text", "1 rank, 1 lane, 1 span in 1 us"));
  CHECK(document.find("path", "l0").size() == 1);
}

TEST_CASE("names have the same colour in every picture of a program") {
  timeline recorder;
  timeline_lane& lane = recorder.lane(0, "x");
  for (int i = 0; i < 8; ++i) {
    static const char* const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    lane.add({names[i]}, i, i + 0.5 + 0.05 * i);
  }
  const xml_document whole = drawn(recorder);
  std::set<std::string> seen;
  for (const char* name : {"a", "b", "c", "d", "e", "f", "g", "h"}) {
    CHECK(legend_color(whole, name) != "");
    CHECK(seen.insert(legend_color(whole, name)).second);
  }
  for (int i = 0; i < 8; ++i) {
    const xml_document part = drawn(recorder, {.from = i - 0.01, .to = i + 0.4});
    const std::string name(1, static_cast<char>('a' + i));
    CHECK(legend_color(part, name) == legend_color(whole, name));
    CHECK(legend_color(part, i == 0 ? "b" : "a") == "");
  }
}

TEST_CASE("the longest operations have colours, the others are grey") {
  timeline recorder;
  timeline_lane& lane = recorder.lane(0, "x");
  std::vector<std::string> names;
  for (int i = 0; i < 14; ++i) names.push_back("op" + std::to_string(i));
  for (int i = 0; i < 14; ++i)
    lane.add({names[static_cast<std::size_t>(i)].c_str()}, 20 * i, 21 * i + 1);
  const xml_document document = drawn(recorder);
  CHECK(document.find("tspan").size() == 12);
  for (int i = 3; i < 14; ++i) CHECK(legend_color(document, "op" + std::to_string(i)) != "#c4c8ce");
  for (int i = 3; i < 14; ++i) CHECK(legend_color(document, "op" + std::to_string(i)) != "");
  for (int i = 0; i < 3; ++i) CHECK(legend_color(document, "op" + std::to_string(i)) == "");
  CHECK(legend_color(document, "other (3 operations)") == "#c4c8ce");
  CHECK(document.has_text("tspan", "6 s, 5.7 %"));
}

TEST_CASE("nested spans are thinner and their names do not collide") {
  timeline recorder;
  timeline_lane& lane = recorder.lane(0, "host");
  lane.add({"inner"}, 50, 70);
  lane.add({"outer"}, 0, 100);
  lane.add({"next"}, 100, 110);
  const xml_document document = drawn(recorder);
  CHECK(document.find("path", "l0").size() == 2);
  CHECK(document.find("path", "l1").size() == 1);
  std::map<std::string, double> place;
  for (const auto& one : document.find("text", "k")) {
    place[one.text] = std::stod(one.attribute("x"));
  }
  CHECK(place.at("inner") - place.at("outer") > 200);  // in the longest free stretch
  CHECK(document.find("path", "l0")[0].attribute("class") !=
        document.find("path", "l1")[0].attribute("class"));
}

TEST_CASE("a name is written only where it fits") {
  timeline recorder;
  timeline_lane& lane = recorder.lane(0, "x");
  lane.add({"a name that is far too long for its span"}, 0, 1);
  lane.add({"short"}, 1, 10);
  lane.add({""}, 10, 20);
  const xml_document document = drawn(recorder, {.width = 600});
  std::vector<std::string> inside;
  for (const auto& one : document.find("text", "k")) {
    if (one.attribute("class") != "m k") inside.push_back(one.text);
  }
  CHECK(inside == std::vector<std::string>{"short"});
}

TEST_CASE("hostile names stay text") {
  const std::string hostile = "</text><script>alert(\"1\")</script>&\x01 \xff \xc3\xa9 'x'";
  const std::string shown =
      "</text><script>alert(\"1\")</script>&\xef\xbf\xbd \xef\xbf\xbd \xc3\xa9 'x'";
  timeline recorder;
  timeline_lane& lane = recorder.lane(0, "<lane> & \"co\"");
  lane.add({hostile.c_str()}, 0, 1);
  const xml_document document = drawn(recorder, {.title = hostile});
  CHECK(document.find("script").empty());
  CHECK(document.elements.front().attribute("aria-label") == shown);
  CHECK(document.has_text("text", shown));
  CHECK(document.has_text("title", shown + ": 1 s at 0 s"));
  CHECK(document.has_text("text", "<lane> & \"co\""));
}

TEST_CASE("many spans give a small picture that keeps the shares of time") {
  timeline recorder;
  for (int rank = 0; rank < 4; ++rank) {
    timeline_lane& lane = recorder.lane(rank, "busy");
    for (int i = 0; i < 25000; ++i) {
      lane.add({i % 3 == 0 ? "a" : "b"}, i * 1e-5, i * 1e-5 + (rank + 1) * 0.25e-5);
    }
  }
  const std::string text = to_svg(recorder);
  CHECK(text.size() < 200000);
  const xml_document document = read_xml(text);
  REQUIRE(document.fault == "");
  CHECK(document.has_text("text", "4 ranks, 4 lanes, 100000 spans in 250 ms"));
  CHECK(document.has_text("title", "short spans, most of them b"));
  // The strokes of a lane are as wide together as its share of the window.
  const auto paths = document.find("path", "l0");
  std::map<double, double> drawn_by_lane;
  for (const auto& path : paths) {
    const std::string place = path.attribute("transform");
    REQUIRE(place.starts_with("translate(0 "));
    const std::string d = path.attribute("d");
    for (std::size_t at = d.find('h'); at != std::string::npos; at = d.find('h', at + 1)) {
      drawn_by_lane[std::stod(place.substr(12))] += std::stod(d.substr(at + 1));
    }
  }
  REQUIRE(drawn_by_lane.size() == 4);
  const double plot = std::stod(document.find("rect")[2].attribute("width"));
  double share = 0.25;
  for (const auto& lane : drawn_by_lane) {
    CHECK(lane.second / plot == doctest::Approx(share).epsilon(0.15));
    share += 0.25;
  }
}

TEST_CASE("spans just above a pixel do not make a large picture either") {
  timeline recorder;
  for (int rank = 0; rank < 60; ++rank) {
    timeline_lane& lane = recorder.lane(rank, "lane");
    for (int i = 0; i < 700; ++i)
      lane.add({i % 2 == 0 ? "forward" : "backward"}, i, i + 0.9 + 0.1 * (i % 7) / 7);
  }
  CHECK(to_svg(recorder).size() < 500000);
  CHECK(drawn(recorder).find("title").size() <= 2000 + 60 * 2);
}

TEST_CASE("a tall picture repeats the time axis") {
  timeline recorder;
  for (int rank = 0; rank < 40; ++rank) recorder.lane(rank, "lane").add({"a"}, 0, 1);
  const auto marks = ticks(drawn(recorder));
  timeline small;
  small.lane(0, "lane").add({"a"}, 0, 1);
  CHECK(marks.size() == 2 * ticks(drawn(small)).size());
}

TEST_CASE("a picture says what was dropped") {
  timeline recorder(1);
  timeline_lane& lane = recorder.lane(0, "x");
  for (int i = 0; i < 4; ++i) lane.add({"x"}, i, i + 1);
  CHECK(drawn(recorder).has_text("text", "3 spans found no room and are missing."));
}
