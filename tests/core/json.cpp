#include <rondel/core/json.hpp>
#include <rondel/core/utf8.hpp>

#include "message_of.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using rondel::json_document;
using rondel::json_kind;
using rondel::json_value;

namespace {

using test::message_of;

std::string problem(std::string_view text, const rondel::json_limits& limits = {}) {
  return message_of<rondel::invalid_data>([&] { const json_document document(text, "d", limits); });
}

std::string refusal(auto&& f) {
  return message_of<rondel::invalid_data>([&] { static_cast<void>(f()); });
}

nlohmann::json rebuilt(const json_value& value) {
  switch (value.kind()) {
    case json_kind::null:
      return nullptr;
    case json_kind::boolean:
      return value.boolean();
    case json_kind::number:
      try {
        return value.unsigned_integer();
      } catch (const rondel::invalid_data&) {
      }
      try {
        return value.integer();
      } catch (const rondel::invalid_data&) {
        return value.real();
      }
    case json_kind::string:
      return std::string(value.string());
    case json_kind::array: {
      nlohmann::json out = nlohmann::json::array();
      for (const json_value element : value) out.push_back(rebuilt(element));
      return out;
    }
    case json_kind::object:
      break;
  }
  nlohmann::json out = nlohmann::json::object();
  for (const json_value member : value) out[std::string(member.key())] = rebuilt(member);
  return out;
}

nlohmann::json random_json(std::mt19937_64& random, int depth) {
  const auto text = [&] {
    const std::vector<std::string> pieces = {"a",
                                             "\"",
                                             "\\",
                                             "\n",
                                             "\x01",
                                             "\xc3\xa9",
                                             "\xe2\x82\xac",
                                             "\xf0\x9d\x84\x9e",
                                             "/",
                                             std::string(1, '\0')};
    std::string out;
    for (std::size_t i = random() % 6; i > 0; --i) out += pieces[random() % pieces.size()];
    return out;
  };
  switch (random() % (depth == 0 ? 6 : 8)) {
    case 0:
      return nullptr;
    case 1:
      return random() % 2 == 0;
    case 2:
      return random() >> random() % 64;
    case 3:
      return -static_cast<std::int64_t>(random() >> 1 >> random() % 63);
    case 4:
      return std::ldexp(static_cast<double>(random()), static_cast<int>(random() % 200) - 100);
    case 5:
      return text();
    case 6: {
      nlohmann::json out = nlohmann::json::array();
      for (std::size_t i = random() % 5; i > 0; --i) out.push_back(random_json(random, depth - 1));
      return out;
    }
    default: {
      nlohmann::json out = nlohmann::json::object();
      for (std::size_t i = random() % 5; i > 0; --i) out[text()] = random_json(random, depth - 1);
      return out;
    }
  }
}

}  // namespace

TEST_CASE("a JSON text is read as another reader reads it") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 2000; ++i) {
    const nlohmann::json expected = random_json(random, 5);
    const std::string text = expected.dump(i % 3 == 0 ? 2 : -1, ' ', i % 2 == 0);
    CAPTURE(text);
    const json_document document(text, "d");
    CHECK(rebuilt(document.root()) == expected);
  }
}

TEST_CASE("members and elements are found, walked over and named") {
  const json_document document(R"({"a": [1, {"b c": "x"}, []], "d": null, "": true})", "d");
  const json_value root = document.root();
  CHECK(root.kind() == json_kind::object);
  CHECK(root.size() == 3);
  CHECK_FALSE(root.find("e"));
  CHECK(root.at("").boolean());
  std::string keys;
  for (const json_value member : root.object()) keys += std::string(member.key()) + ";";
  CHECK(keys == "a;d;;");
  std::vector<json_value> elements;
  for (const json_value element : root.at("a").array()) elements.push_back(element);
  REQUIRE(elements.size() == 3);
  CHECK(elements[0].unsigned_integer() == 1);
  CHECK(elements[1].at("b c").string() == "x");
  CHECK(elements[1].at("b c").where() == "d: a[1][\"b c\"]");
  CHECK(elements[2].size() == 0);
  CHECK(elements[2].begin() == elements[2].end());
  CHECK(root.where() == "d: the whole document");
}

TEST_CASE("whole numbers are exact over all 64 bits") {
  const json_document document(
      "[18446744073709551615, 9007199254740993, -9223372036854775808, 0, -0, 1e3, 1.0, "
      "18446744073709551616, 1e400, -1]",
      "d");
  std::vector<json_value> v;
  for (const json_value element : document.root()) v.push_back(element);
  CHECK(v[0].unsigned_integer() == std::numeric_limits<std::uint64_t>::max());
  CHECK(v[1].unsigned_integer() == 9007199254740993U);
  CHECK(v[2].integer() == std::numeric_limits<std::int64_t>::min());
  CHECK(v[3].unsigned_integer() == 0);
  CHECK(v[4].integer() == 0);
  CHECK(v[5].real() == 1000);
  for (std::size_t i = 4; i < 10; ++i) {
    CHECK_THROWS_AS(static_cast<void>(v[i].unsigned_integer()), rondel::invalid_data);
  }
  CHECK(v[7].real() == 18446744073709551616.0);
  CHECK_THROWS_AS(static_cast<void>(v[8].real()), rondel::invalid_data);
  CHECK_THROWS_AS(static_cast<void>(v[0].integer()), rondel::invalid_data);
}

TEST_CASE("escapes and surrogate pairs become UTF-8") {
  const json_document document(
      R"(["\"\\\/\b\f\n\r\t", "\u0041\u00e9\u20AC\ud834\udd1e", "\u0000"])", "d");
  std::vector<std::string> v;
  for (const json_value element : document.root()) v.emplace_back(element.string());
  CHECK(v[0] == "\"\\/\b\f\n\r\t");
  CHECK(v[1] == "A\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e");
  CHECK(v[2] == std::string(1, '\0'));
}

TEST_CASE("each defect of a JSON text has its own words") {
  const auto at = [](std::size_t byte, const std::string& words) {
    return "d: at byte " + std::to_string(byte) + " of the JSON: " + words;
  };
  CHECK(problem("") == at(0, "the text ends too soon"));
  CHECK(problem("  ") == at(2, "the text ends too soon"));
  CHECK(problem("[1,") == at(3, "the text ends too soon"));
  CHECK(problem("[1 2]") == at(3, "expected ',' or ']'"));
  CHECK(problem("{\"a\":1 2}") == at(7, "expected ',' or '}'"));
  CHECK(problem("[1,]") == at(3, "expected a value"));
  CHECK(problem("{\"a\":1,}") == at(7, "expected the name of a member"));
  CHECK(problem("{1:2}") == at(1, "expected the name of a member"));
  CHECK(problem("{\"a\" 1}") == at(5, "expected ':' after the name of a member"));
  CHECK(problem("1 x") == at(2, "the text goes on after the value"));
  CHECK(problem("tru") == at(0, "expected a value"));
  CHECK(problem("nul!") == at(0, "expected a value"));
  CHECK(problem("NaN") == at(0, "expected a value"));
  CHECK(problem("-") == at(0, "expected a value"));
  CHECK(problem("+1") == at(0, "expected a value"));
  CHECK(problem(".5") == at(0, "expected a value"));
  CHECK(problem("01") == at(0, "a number begins with a superfluous 0"));
  CHECK(problem("-012") == at(0, "a number begins with a superfluous 0"));
  CHECK(problem("1.") == at(2, "expected a digit after the point"));
  CHECK(problem("1e+") == at(3, "expected a digit in the exponent"));
  CHECK(problem("\"a") == at(0, "a string does not end"));
  CHECK(problem("\"a\n\"") == at(2, "a control character in a string"));
  CHECK(problem(R"("\x")") == at(1, "an unknown escape in a string"));
  CHECK(problem(R"("\u12g4")") == at(1, "\\u is not followed by four hexadecimal digits"));
  CHECK(problem(R"("\ud834")") == at(1, "half of a surrogate pair in a string"));
  CHECK(problem(R"("\udd1e")") == at(1, "half of a surrogate pair in a string"));
  CHECK(problem(R"("\ud834\u0041")") == at(1, "half of a surrogate pair in a string"));
  CHECK(problem("\"\xff\"") == at(1, "the text is not UTF-8"));
  CHECK(problem("\xef\xbb\xbf{}") == at(0, "expected a value"));
  CHECK(problem(R"([{"a":1,"b":2,"\u0061":3}])") == at(1, "the object has two members \"a\""));
  CHECK(problem("[[[]]]", {.depth = 2}) ==
        at(2, "more than 2 arrays and objects inside each other"));
  CHECK(problem("[[[]]]", {.depth = 3}).empty());
  CHECK(problem("[1,2]", {.values = 2}) == at(3, "there are more than 2 values"));
  CHECK(problem("[1,2]", {.values = 3}).empty());
  CHECK(problem("[1,2]", {.bytes = 4}) == "d: 5 B of JSON are more than the limit of 4");
  CHECK(problem(std::string(100'000, '[')) ==
        at(32, "more than 32 arrays and objects inside each other"));
}

TEST_CASE("a value of another kind is named with its place") {
  const json_document document(R"({"a": [{"b": "x"}], "c": -1, "d": 1.5, "e": true})", "d");
  const json_value root = document.root();
  CHECK(refusal([&] { return (*root.at("a").begin()).at("b").unsigned_integer(); }) ==
        "d: a[0].b is \"x\"; expected a whole number from 0 to 18446744073709551615");
  CHECK(refusal([&] { return root.at("c").unsigned_integer(); }) ==
        "d: c is -1; expected a whole number from 0 to 18446744073709551615");
  CHECK(refusal([&] { return root.at("d").integer(); }) ==
        "d: d is 1.5; expected a whole number from -9223372036854775808 to 9223372036854775807");
  CHECK(refusal([&] { return root.at("e").string(); }) == "d: e is true; expected a string");
  CHECK(refusal([&] { return root.at("a").object(); }) == "d: a is an array; expected an object");
  CHECK(refusal([&] { return root.array(); }) ==
        "d: the whole document is an object; expected an array");
  CHECK(refusal([&] { return root.at("f"); }) == "d: the whole document has no member \"f\"");
  CHECK(refusal([&] { return root.at("c").at("f"); }) == "d: c is -1; expected an object");
}

TEST_CASE("every cut and every changed byte of a JSON text is read or refused") {
  const std::string text = R"({"a": [1, -2.5e3, {"b\u00e9": "x\n\ud834\udd1e"}], "c": null})";
  for (std::size_t size = 0; size < text.size(); ++size) {
    CHECK_FALSE(problem(std::string_view(text).substr(0, size)).empty());
  }
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = text;
      changed[at] = static_cast<char>(byte);
      const bool read = problem(changed).empty();
      CAPTURE(changed);
      // The other reader keeps the last of two equal names.
      const bool twice = problem(changed).find("two members") != std::string::npos;
      CHECK((read || twice) == nlohmann::json::accept(changed));
    }
  }
}

TEST_CASE("the first byte that is not UTF-8 is found") {
  using rondel::first_invalid_utf8;
  for (const char* good :
       {"", "a", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"}) {
    CHECK(first_invalid_utf8(good) == std::string_view(good).size());
  }
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xe2\x82", "\xc3"}) {
    CHECK(first_invalid_utf8(std::string("ab") + bad + "c") == 2);
  }
  CHECK(rondel::detail::in_quotes("a\"\n\xff") == "\"a\\\"\\u000a\xef\xbf\xbd\"");
}
