#pragma once
#include <rondel/core/error.hpp>
#include <rondel/core/json_parser.hpp>
#include <rondel/core/text.hpp>
#include <rondel/core/utf8.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace rondel {

/// A value of a `json_document`, which must outlive it. Copies are the same value.
///
/// The accessors throw `invalid_data`, which names the document, the place of the value in it,
/// what stands there and what was expected.
class json_value {
 public:
  /// Walks over the elements of an array or the members of an object.
  class iterator {
   public:
    /// The value there.
    [[nodiscard]] json_value operator*() const noexcept { return {*tree_, index_}; }
    /// On to the next.
    iterator& operator++() noexcept {
      index_ = tree_->nodes[index_].end;
      return *this;
    }
    friend bool operator==(const iterator&, const iterator&) = default;

   private:
    friend class json_value;
    iterator(const detail::json_tree& tree, std::uint32_t index) : tree_(&tree), index_(index) {}

    const detail::json_tree* tree_;
    std::uint32_t index_;
  };

  /// What it is.
  [[nodiscard]] json_kind kind() const noexcept { return node().kind; }
  /// The name under which an object holds it; empty for elements and for the root.
  [[nodiscard]] std::string_view key() const noexcept {
    return tree_->text(node().key, node().key_size);
  }
  /// Number of elements or members; 0 for other kinds.
  [[nodiscard]] std::size_t size() const noexcept { return node().count; }
  /// The first element or member, in the order of the text.
  [[nodiscard]] iterator begin() const noexcept { return {*tree_, index_ + 1}; }
  /// After the last; equal to `begin()` for kinds that hold none.
  [[nodiscard]] iterator end() const noexcept { return {*tree_, node().end}; }

  /// The value if it is an array, to be walked over.
  [[nodiscard]] json_value array() const { return require(json_kind::array, "an array"); }
  /// The value if it is an object, to be walked over.
  [[nodiscard]] json_value object() const { return require(json_kind::object, "an object"); }

  /// The member `name` of an object, if it has one. Looks at every member.
  [[nodiscard]] std::optional<json_value> find(std::string_view name) const {
    for (const json_value member : object()) {
      if (member.key() == name) return member;
    }
    return std::nullopt;
  }

  /// The member `name` of an object that must have it.
  [[nodiscard]] json_value at(std::string_view name) const {
    if (const auto member = find(name)) return *member;
    throw invalid_data(concat(where(), " has no member ", detail::in_quotes(name)));
  }

  /// The value if it is a string: UTF-8, which may hold zero bytes.
  [[nodiscard]] std::string_view string() const {
    static_cast<void>(require(json_kind::string, "a string"));
    return tree_->text(node().value, node().value_size);
  }

  /// The value if it is true or false.
  [[nodiscard]] bool boolean() const {
    static_cast<void>(require(json_kind::boolean, "true or false"));
    return node().value != 0;
  }

  /// The value if it is written as a whole number, without point or exponent, of 64 bits without
  /// sign.
  [[nodiscard]] std::uint64_t unsigned_integer() const {
    return number<std::uint64_t>("a whole number from 0 to 18446744073709551615");
  }
  /// The same with a sign.
  [[nodiscard]] std::int64_t integer() const {
    return number<std::int64_t>("a whole number from -9223372036854775808 to 9223372036854775807");
  }
  /// The value if it is a number that a `double` can hold, rounded to the nearest.
  [[nodiscard]] double real() const { return number<double>("a number in the range of a double"); }

  /// The document and the place of the value in it: `"a.json: files[2].bytes"`.
  [[nodiscard]] std::string where() const {
    std::string path;
    for (std::uint32_t at = index_; at != 0; at = tree_->nodes[at].parent) {
      path.insert(0, step_to(at));
    }
    if (path.empty()) return concat(tree_->what, ": the whole document");
    return concat(tree_->what, ": ", std::string_view(path).substr(path[0] == '.' ? 1 : 0));
  }

 private:
  friend class json_document;

  json_value(const detail::json_tree& tree, std::uint32_t index) : tree_(&tree), index_(index) {}

  [[nodiscard]] const detail::json_node& node() const noexcept { return tree_->nodes[index_]; }

  // The last step of the path to a node: ".key" or "[3]".
  [[nodiscard]] std::string step_to(std::uint32_t index) const {
    const detail::json_node& at = tree_->nodes[index];
    if (tree_->nodes[at.parent].kind == json_kind::object) {
      const std::string_view name = tree_->text(at.key, at.key_size);
      const bool plain = !name.empty() && name.find_first_not_of(
                                              "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVW"
                                              "XYZ0123456789_-") == std::string_view::npos;
      return plain && name.size() <= 80 ? concat(".", name)
                                        : concat("[", detail::in_quotes(name), "]");
    }
    std::size_t position = 0;
    for (std::uint32_t i = at.parent + 1; i != index; i = tree_->nodes[i].end) ++position;
    return concat("[", position, "]");
  }

  [[nodiscard]] std::string shown() const {
    switch (kind()) {
      case json_kind::null:
        return "null";
      case json_kind::boolean:
        return node().value != 0 ? "true" : "false";
      case json_kind::number:
        return detail::shortened(tree_->text(node().value, node().value_size), 80);
      case json_kind::string:
        return detail::in_quotes(tree_->text(node().value, node().value_size));
      case json_kind::array:
        return "an array";
      case json_kind::object:
        break;
    }
    return "an object";
  }

  [[noreturn]] void refuse(std::string_view expected) const {
    throw invalid_data(concat(where(), " is ", shown(), "; expected ", expected));
  }

  [[nodiscard]] json_value require(json_kind expected, std::string_view name) const {
    if (kind() != expected) refuse(name);
    return *this;
  }

  template <class T>
  [[nodiscard]] T number(std::string_view expected) const {
    if (kind() != json_kind::number) refuse(expected);
    const std::string_view digits = tree_->text(node().value, node().value_size);
    T out{};
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    if (error != std::errc() || end != digits.data() + digits.size()) refuse(expected);
    return out;
  }

  const detail::json_tree* tree_;
  std::uint32_t index_;
};

/// A JSON text (RFC 8259) that was read whole.
///
/// The reader is strict: UTF-8 only, no duplicate names in an object, no lone surrogates, no
/// comments, nothing but white space around the value. It holds 32 bytes a value, up to three times
/// that while it reads, beside the text of strings and numbers; `json_limits` bound both.
class json_document {
 public:
  /// Reads `text`; `what`, a path for example, names it in messages. Throws `invalid_data`
  /// with the offset of the first byte that is wrong.
  json_document(std::string_view text, std::string what, const json_limits& limits = {})
      : tree_(std::make_unique<const detail::json_tree>(
            detail::json_parser(text, std::move(what), limits).parse())) {}

  /// The outermost value.
  [[nodiscard]] json_value root() const noexcept { return {*tree_, 0}; }

 private:
  std::unique_ptr<const detail::json_tree> tree_;
};

}  // namespace rondel
