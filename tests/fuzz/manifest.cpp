// A manifest of any bytes is read or refused with `invalid_data`, with the checksum as it is and
// with the one that it should have; what is read comes back the same when it is written and read
// again. Any bytes are also read as JSON, and every value of it is looked at.
#include <rondel/checkpoint/manifest.hpp>
#include <rondel/core/json.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check(std::string_view text) {
  rondel::checkpoint_manifest manifest;
  try {
    manifest = rondel::parse_checkpoint_manifest(text, "m");
  } catch (const rondel::invalid_data&) {
    return;
  }
  require(rondel::parse_checkpoint_manifest(to_json(manifest), "m") == manifest);
}

// The number of values in and below `value`.
std::size_t walk(const rondel::json_value& value) {
  std::size_t count = 1, held = 0;
  for (const rondel::json_value one : value) {
    count += walk(one);
    ++held;
  }
  require(held == value.size());
  require(rondel::first_invalid_utf8(value.key()) == value.key().size());
  if (value.kind() == rondel::json_kind::string) {
    require(rondel::first_invalid_utf8(value.string()) == value.string().size());
  } else if (value.kind() == rondel::json_kind::number) {
    try {
      static_cast<void>(value.real());
      static_cast<void>(value.integer());
      static_cast<void>(value.unsigned_integer());
    } catch (const rondel::invalid_data& e) {
      require(std::string_view(e.what()).starts_with("d: "));
    }
  }
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check(text);
  if (size >= rondel::detail::manifest_tail) {
    const std::string_view body = text.substr(0, size - rondel::detail::manifest_tail);
    check(rondel::concat(body, rondel::detail::manifest_sum_field,
                         rondel::detail::crc_text(rondel::detail::checksum_of_text(body)),
                         rondel::detail::manifest_end));
  }
  try {
    const rondel::json_document document(text, "d");
    require(walk(document.root()) <= size);
  } catch (const rondel::invalid_data&) {
  }
  return 0;
}
