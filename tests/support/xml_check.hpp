#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rondel_test {

// What a strict reading of an XML document without comments and declarations found.
struct xml_document {
  struct element {
    std::string name;
    std::vector<std::pair<std::string, std::string>> attributes;  // entities resolved
    std::string text;                                             // of this element alone

    [[nodiscard]] std::string attribute(std::string_view key) const {
      for (const auto& [name_of, value] : attributes) {
        if (name_of == key) return value;
      }
      return "";
    }
  };

  std::string fault;              // empty if the document is well-formed
  std::vector<element> elements;  // in document order

  // Elements called `name` whose class list holds `of_class`, unless that is empty.
  [[nodiscard]] std::vector<element> find(std::string_view name,
                                          std::string_view of_class = "") const {
    std::vector<element> out;
    for (const element& one : elements) {
      const std::string classes = " " + one.attribute("class") + " ";
      const bool fits =
          of_class.empty() || classes.find(" " + std::string(of_class) + " ") != std::string::npos;
      if (one.name == name && fits) out.push_back(one);
    }
    return out;
  }

  // Whether the text of some element called `name` is `text`.
  [[nodiscard]] bool has_text(std::string_view name, std::string_view text) const {
    for (const element& one : elements) {
      if (one.name == name && one.text == text) return true;
    }
    return false;
  }
};

class xml_reader {
 public:
  explicit xml_reader(std::string_view text) : rest_(text) {}

  [[nodiscard]] xml_document read() {
    while (document_.fault.empty() && !rest_.empty()) {
      if (rest_.starts_with("</")) {
        read_end_tag();
      } else if (rest_.front() == '<') {
        read_tag();
      } else {
        read_text();
      }
    }
    if (document_.fault.empty() && !open_.empty()) fail("an element is not closed");
    if (document_.fault.empty() && roots_ != 1) fail("there is not one root element");
    return document_;
  }

 private:
  void fail(const std::string& why) {
    document_.fault = why + " before: " + std::string(rest_.substr(0, 60));
  }

  static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == ':' || c == '_';
  }

  std::string take_name() {
    std::size_t length = 0;
    while (length < rest_.size() && is_name(rest_[length])) ++length;
    if (length == 0) fail("a name is missing");
    const std::string name(rest_.substr(0, length));
    rest_.remove_prefix(length);
    return name;
  }

  void skip_blanks() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\n'))
      rest_.remove_prefix(1);
  }

  // Takes characters up to `stop` or the end, with entities resolved.
  std::string take_characters(char stop) {
    std::string out;
    while (document_.fault.empty() && !rest_.empty() && rest_.front() != stop) {
      const char c = rest_.front();
      if (c == '<') {
        fail("a bare <");
      } else if (static_cast<unsigned char>(c) < 0x20 && c != '\n') {
        fail("a control character");
      } else if (c == '&') {
        const std::size_t end = rest_.find(';');
        const std::string_view entity =
            rest_.substr(0, end == std::string_view::npos ? 0 : end + 1);
        if (entity == "&amp;") {
          out += '&';
        } else if (entity == "&lt;") {
          out += '<';
        } else if (entity == "&gt;") {
          out += '>';
        } else if (entity == "&quot;") {
          out += '"';
        } else if (entity == "&#39;") {
          out += '\'';
        } else if (entity == "&#9;") {
          out += '\t';
        } else if (entity == "&#10;") {
          out += '\n';
        } else if (entity == "&#13;") {
          out += '\r';
        } else {
          fail("an unknown entity");
          return out;
        }
        rest_.remove_prefix(entity.size());
      } else {
        out += c;
        rest_.remove_prefix(1);
      }
    }
    return out;
  }

  void read_text() {
    const std::string text = take_characters('<');
    if (!open_.empty()) {
      document_.elements[open_.back()].text += text;
    } else if (text.find_first_not_of(" \n") != std::string::npos) {
      fail("text outside of the root element");
    }
  }

  void read_end_tag() {
    rest_.remove_prefix(2);
    const std::string name = take_name();
    skip_blanks();
    if (!rest_.starts_with('>')) return fail("an end tag that does not end");
    rest_.remove_prefix(1);
    if (open_.empty() || document_.elements[open_.back()].name != name) {
      return fail("</" + name + "> closes what is not open");
    }
    open_.pop_back();
  }

  void read_tag() {
    rest_.remove_prefix(1);
    xml_document::element one;
    one.name = take_name();
    if (open_.empty()) ++roots_;
    while (document_.fault.empty()) {
      skip_blanks();
      if (rest_.starts_with("/>") || rest_.starts_with('>')) break;
      const std::string key = take_name();
      if (!rest_.starts_with("=\"")) return fail("an attribute without a quoted value");
      if (!one.attribute(key).empty()) return fail("an attribute twice");
      rest_.remove_prefix(2);
      one.attributes.emplace_back(key, take_characters('"'));
      if (rest_.empty()) return fail("an attribute that does not end");
      rest_.remove_prefix(1);
    }
    const bool closed = rest_.starts_with("/>");
    rest_.remove_prefix(rest_.empty() ? 0 : closed ? 2 : 1);
    document_.elements.push_back(one);
    if (!closed) open_.push_back(document_.elements.size() - 1);
  }

  std::string_view rest_;
  xml_document document_;
  std::vector<std::size_t> open_;
  int roots_ = 0;
};

// Reads `text`; `fault` says what is not well-formed.
[[nodiscard]] inline xml_document read_xml(std::string_view text) {
  return xml_reader(text).read();
}

}  // namespace rondel_test
