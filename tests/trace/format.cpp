#include <rondel/trace/format.hpp>

#include <clocale>
#include <limits>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

using rondel::format_rate;
using rondel::format_seconds;

namespace {

std::string number(double value, int decimals) {
  std::string out;
  rondel::detail::append_number(out, value, decimals);
  return out;
}

std::string json(std::string_view text) {
  std::string out;
  rondel::detail::append_json_string(out, text);
  return out;
}

std::string xml(std::string_view text) {
  std::string out;
  rondel::detail::append_xml(out, text);
  return out;
}

}  // namespace

TEST_CASE("times have three digits and a unit that fits") {
  CHECK(format_seconds(0) == "0 s");
  CHECK(format_seconds(1.5e-10) == "0.15 ns");
  CHECK(format_seconds(120e-9) == "120 ns");
  CHECK(format_seconds(999.9e-9) == "1 us");
  CHECK(format_seconds(1.2345e-3) == "1.23 ms");
  CHECK(format_seconds(45.67e-3) == "45.7 ms");
  CHECK(format_seconds(0.99951) == "1 s");
  CHECK(format_seconds(1234.4) == "1234 s");
  CHECK(format_seconds(-2e-3) == "-2 ms");
}

TEST_CASE("rates have three digits and a prefix") {
  CHECK(format_rate(0, "B") == "0 B/s");
  CHECK(format_rate(12, "B") == "12 B/s");
  CHECK(format_rate(999.6, "B") == "1 kB/s");
  CHECK(format_rate(1.234e12, "FLOP") == "1.23 TFLOP/s");
  CHECK(format_rate(5e22, "FLOP") == "50000 EFLOP/s");
}

TEST_CASE("numbers are plain, in every locale") {
  CHECK(number(1.5, 3) == "1.5");
  CHECK(number(100, 1) == "100");
  CHECK(number(100, 0) == "100");
  CHECK(number(0.04, 1) == "0");
  CHECK(number(-0.04, 1) == "0");
  CHECK(number(1e22, 2) == "10000000000000000000000");
  CHECK(number(std::numeric_limits<double>::infinity(), 2) == "0");
  CHECK(number(std::numeric_limits<double>::quiet_NaN(), 2) == "0");
  CHECK(number(std::numeric_limits<double>::max(), 3).size() == 309);
  const std::string before = std::setlocale(LC_NUMERIC, nullptr);
  if (std::setlocale(LC_NUMERIC, "de_DE.UTF-8") != nullptr) CHECK(number(1.5, 3) == "1.5");
  std::setlocale(LC_NUMERIC, before.c_str());
}

TEST_CASE("JSON strings escape what JSON reserves and replace what is not UTF-8") {
  CHECK(json("a\"b\\c\n\x01\x1f") == "\"a\\\"b\\\\c\\u000a\\u0001\\u001f\"");
  CHECK(json("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80") == "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
  const std::string bad = "\xef\xbf\xbd";
  CHECK(json("\xff") == "\"" + bad + "\"");
  CHECK(json("\xc0\x80") == "\"" + bad + bad + "\"");                      // overlong
  CHECK(json("\xe0\x80\x80") == "\"" + bad + bad + bad + "\"");            // overlong
  CHECK(json("\xed\xa0\x80") == "\"" + bad + bad + bad + "\"");            // surrogate
  CHECK(json("\xe2\x82") == "\"" + bad + bad + "\"");                      // cut short
  CHECK(json("\xf4\x90\x80\x80") == "\"" + bad + bad + bad + bad + "\"");  // beyond Unicode
}

TEST_CASE("XML text escapes markup and replaces what XML cannot hold") {
  CHECK(xml("<a b='c' d=\"e\">&") == "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;");
  CHECK(xml("\t\n\r") == "&#9;&#10;&#13;");
  CHECK(xml(std::string_view("\0\x1b", 2)) == "\xef\xbf\xbd\xef\xbf\xbd");
  CHECK(xml("\xef\xbf\xbe") == "\xef\xbf\xbd");
}

TEST_CASE("names are cut by character") {
  CHECK(rondel::detail::shortened("abcde", 5) == "abcde");
  CHECK(rondel::detail::shortened("abcdef", 5) == "abcd\xe2\x80\xa6");
  CHECK(rondel::detail::shortened("\xc3\xa9\xc3\xa9\xc3\xa9", 2) == "\xc3\xa9\xe2\x80\xa6");
}
