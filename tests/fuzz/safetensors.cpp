// A safetensors file of any bytes is read or refused with `invalid_data`; what is read is inside
// the file, and comes back the same when it is written and read again.
#include <rondel/checkpoint/safetensors.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check(std::string_view text, std::uint64_t file_bytes) {
  rondel::safetensors_header header;
  try {
    header = rondel::parse_safetensors_header(text, file_bytes, "f");
  } catch (const rondel::invalid_data&) {
    return;
  }
  require(header.data_offset == 8 + text.size());
  require(header.data_offset + header.data_bytes == file_bytes);
  std::uint64_t end = 0;
  for (const rondel::tensor_info& one : header.tensors) {
    require(one.offset == end);
    end += one.bytes;
  }
  require(end == header.data_bytes);

  std::vector<rondel::tensor_info> tensors = header.tensors;
  const std::string written = rondel::make_safetensors_header(tensors, header.metadata);
  require(tensors == header.tensors);
  const rondel::safetensors_header again = rondel::parse_safetensors_header(
      std::string_view(written).substr(8), written.size() + header.data_bytes, "f");
  require(again.tensors == header.tensors && again.metadata == header.metadata);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  // As a whole file.
  try {
    const std::uint64_t length =
        rondel::parse_safetensors_length(std::as_bytes(std::span(all)), size, "f");
    require(length <= size - 8);
    check(all.substr(8, static_cast<std::size_t>(length)), size);
  } catch (const rondel::invalid_data&) {
  }
  // As a header, before as many bytes as the last two say.
  if (size >= 2) {
    const std::uint64_t behind = std::uint64_t{data[size - 1]} << 8 | data[size - 2];
    check(all.substr(0, size - 2), 8 + (size - 2) + behind);
  }
  return 0;
}
