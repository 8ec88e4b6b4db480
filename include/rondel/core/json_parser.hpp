#pragma once
#include <rondel/core/error.hpp>
#include <rondel/core/text.hpp>
#include <rondel/core/utf8.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rondel {

/// Kinds of JSON values.
enum class json_kind : std::uint8_t { null, boolean, number, string, array, object };

/// What a JSON text may ask of the reader.
struct json_limits {
  /// Bytes of the text; less than 4 GiB whatever stands here.
  std::size_t bytes = std::size_t{64} << 20;
  /// Arrays and objects inside each other.
  std::size_t depth = 32;
  /// Values of all kinds together.
  std::size_t values = std::size_t{1} << 20;
};

namespace detail {

// A value in preorder: what it holds follows it, up to `end`.
struct json_node {
  json_kind kind = json_kind::null;
  std::uint32_t parent = 0;
  std::uint32_t end = 0;
  std::uint32_t count = 0;                  // elements or members
  std::uint32_t key = 0, key_size = 0;      // in json_tree::strings
  std::uint32_t value = 0, value_size = 0;  // the same; of a boolean, 0 or 1
};

struct json_tree {
  std::string what;
  std::string strings;
  std::vector<json_node> nodes;

  [[nodiscard]] std::string_view text(std::uint32_t offset, std::uint32_t size) const noexcept {
    return std::string_view(strings).substr(offset, size);
  }
};

// Reads one text by recursive descent; the depth of the recursion is limited.
class json_parser {
 public:
  json_parser(std::string_view text, std::string what, const json_limits& limits)
      : text_(text), limits_(limits) {
    tree_.what = std::move(what);
  }

  [[nodiscard]] json_tree parse() {
    const std::size_t most = std::min<std::size_t>(limits_.bytes, 0xffffffffU);
    if (text_.size() > most) {
      throw invalid_data(
          concat(tree_.what, ": ", text_.size(), " B of JSON are more than the limit of ", most));
    }
    if (const std::size_t at = first_invalid_utf8(text_); at != text_.size()) {
      fail(at, "the text is not UTF-8");
    }
    skip_space();
    value(0, 0, 0);
    skip_space();
    if (at_ != text_.size()) fail(at_, "the text goes on after the value");
    return std::move(tree_);
  }

 private:
  [[noreturn]] void fail(std::size_t at, std::string_view problem) const {
    throw invalid_data(concat(tree_.what, ": at byte ", at, " of the JSON: ", problem));
  }

  [[nodiscard]] bool ended() const noexcept { return at_ == text_.size(); }
  [[nodiscard]] char peek() const {
    if (ended()) fail(at_, "the text ends too soon");
    return text_[at_];
  }

  void skip_space() noexcept {
    while (!ended() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
  }

  [[nodiscard]] std::uint32_t offset() const noexcept {
    return static_cast<std::uint32_t>(tree_.strings.size());
  }

  // Reads the value here.
  void value(std::uint32_t parent, std::uint32_t key, std::uint32_t key_size) {
    if (tree_.nodes.size() >= std::min<std::size_t>(limits_.values, 0xffffffffU)) {
      fail(at_, concat("there are more than ", limits_.values, " values"));
    }
    const auto index = static_cast<std::uint32_t>(tree_.nodes.size());
    tree_.nodes.push_back({.parent = parent, .key = key, .key_size = key_size});
    switch (peek()) {
      case '{':
        container(index, json_kind::object, '}');
        break;
      case '[':
        container(index, json_kind::array, ']');
        break;
      case '"': {
        const std::uint32_t begin = offset();
        string();
        set(index, json_kind::string, begin, offset() - begin);
        break;
      }
      case 't':
        word("true");
        set(index, json_kind::boolean, 1, 0);
        break;
      case 'f':
        word("false");
        set(index, json_kind::boolean, 0, 0);
        break;
      case 'n':
        word("null");
        break;
      default:
        number(index);
    }
    tree_.nodes[index].end = static_cast<std::uint32_t>(tree_.nodes.size());
  }

  void set(std::uint32_t index, json_kind kind, std::uint32_t value, std::uint32_t size) {
    json_node& node = tree_.nodes[index];
    node.kind = kind;
    node.value = value;
    node.value_size = size;
  }

  void word(std::string_view expected) {
    if (text_.substr(at_, expected.size()) != expected) {
      fail(at_, "expected a value");
    }
    at_ += expected.size();
  }

  void container(std::uint32_t index, json_kind kind, char close) {
    if (++depth_ > limits_.depth) {
      fail(at_, concat("more than ", limits_.depth, " arrays and objects inside each other"));
    }
    tree_.nodes[index].kind = kind;
    const std::size_t opened = at_++;
    skip_space();
    if (peek() == close) {
      ++at_;
    } else {
      for (bool more = true; more;) {
        std::uint32_t key = 0, key_size = 0;
        if (kind == json_kind::object) {
          if (peek() != '"') fail(at_, "expected the name of a member");
          key = offset();
          string();
          key_size = offset() - key;
          skip_space();
          if (peek() != ':') fail(at_, "expected ':' after the name of a member");
          ++at_;
          skip_space();
        }
        value(index, key, key_size);
        ++tree_.nodes[index].count;
        skip_space();
        if (peek() != ',' && peek() != close)
          fail(at_, close == ']' ? "expected ',' or ']'" : "expected ',' or '}'");
        more = text_[at_++] == ',';
        skip_space();
      }
    }
    if (kind == json_kind::object) refuse_duplicates(index, opened);
    --depth_;
  }

  // Sorts the names, so that a text made for it cannot cost quadratic time.
  void refuse_duplicates(std::uint32_t index, std::size_t opened) {
    std::vector<std::string_view> names;
    names.reserve(tree_.nodes[index].count);
    for (std::uint32_t i = index + 1; i < tree_.nodes.size(); i = tree_.nodes[i].end) {
      names.push_back(tree_.text(tree_.nodes[i].key, tree_.nodes[i].key_size));
    }
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) {
      fail(opened, concat("the object has two members ", in_quotes(*twice)));
    }
  }

  // -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?
  void number(std::uint32_t index) {
    const std::size_t begin = at_;
    if (text_[at_] == '-') ++at_;
    const bool zero = !ended() && text_[at_] == '0';
    if (digits() == 0) fail(begin, "expected a value");
    if (zero && at_ - begin > (text_[begin] == '-' ? 2U : 1U)) {
      fail(begin, "a number begins with a superfluous 0");
    }
    if (!ended() && text_[at_] == '.') {
      ++at_;
      if (digits() == 0) fail(at_, "expected a digit after the point");
    }
    if (!ended() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      ++at_;
      if (!ended() && (text_[at_] == '+' || text_[at_] == '-')) ++at_;
      if (digits() == 0) fail(at_, "expected a digit in the exponent");
    }
    const std::uint32_t at = offset();
    tree_.strings.append(text_.substr(begin, at_ - begin));
    set(index, json_kind::number, at, offset() - at);
  }

  // Takes digits and returns how many there were.
  std::size_t digits() noexcept {
    const std::size_t begin = at_;
    while (!ended() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    return at_ - begin;
  }

  // Appends the string that begins here to the strings of the tree. The result is never longer
  // than its source, so that offsets fit.
  void string() {
    const std::size_t opened = at_++;
    for (;;) {
      if (ended()) fail(opened, "a string does not end");
      const char c = text_[at_];
      if (static_cast<unsigned char>(c) < 0x20) fail(at_, "a control character in a string");
      ++at_;
      if (c == '"') return;
      if (c == '\\') {
        escape();
      } else {
        tree_.strings += c;
      }
    }
  }

  void escape() {
    constexpr std::string_view names = "\"\\/bfnrt";
    constexpr std::string_view values = "\"\\/\b\f\n\r\t";
    const std::size_t begin = at_ - 1;
    const char c = peek();
    ++at_;
    if (const std::size_t i = names.find(c); i != std::string_view::npos) {
      tree_.strings += values[i];
      return;
    }
    if (c != 'u') fail(begin, "an unknown escape in a string");
    std::uint32_t point = four_hex_digits(begin);
    if (point >= 0xd800 && point < 0xdc00 && text_.substr(at_, 2) == "\\u") {
      at_ += 2;
      const std::uint32_t low = four_hex_digits(begin);
      if (low < 0xdc00 || low > 0xdfff) fail(begin, "half of a surrogate pair in a string");
      point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    }
    if (point >> 11 == 0x1b) fail(begin, "half of a surrogate pair in a string");
    append_utf8(tree_.strings, point);
  }

  [[nodiscard]] std::uint32_t four_hex_digits(std::size_t begin) {
    std::uint32_t out = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = peek();
      const std::uint32_t digit = c >= '0' && c <= '9'   ? static_cast<std::uint32_t>(c - '0')
                                  : c >= 'a' && c <= 'f' ? static_cast<std::uint32_t>(c - 'a' + 10)
                                  : c >= 'A' && c <= 'F' ? static_cast<std::uint32_t>(c - 'A' + 10)
                                                         : 16;
      if (digit == 16) fail(begin, "\\u is not followed by four hexadecimal digits");
      out = out << 4 | digit;
      ++at_;
    }
    return out;
  }

  std::string_view text_;
  json_limits limits_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
  json_tree tree_;
};

}  // namespace detail
}  // namespace rondel
