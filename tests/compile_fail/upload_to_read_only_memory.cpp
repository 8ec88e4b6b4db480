// expect: (cannot convert|no viable conversion from) 'device_span<const std::byte>'
#include <rondel/device/host.hpp>

#include <span>

void fill(rondel::host_stream& stream, rondel::device_span<std::byte> to,
          rondel::device_span<const std::byte> constant, std::span<const std::byte> from) {
  stream.upload(to, from);
#ifdef RONDEL_MUST_FAIL
  stream.upload(constant, from);
#endif
  (void)constant;
}
