#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace rondel::detail {

// From here on a buffer is not worth keeping in the cache: writing it past the cache halves the
// traffic, because the lines need not be read first.
inline constexpr std::size_t streaming_threshold = std::size_t{8} << 20;

// Copies bytes between memory that does not overlap; with `streaming`, past the cache.
inline void copy_bytes(void* to, const void* from, std::size_t size, bool streaming) noexcept {
  if (size == 0) return;
#if defined(__SSE2__)
  if (streaming && size >= 256) {
    auto* out = static_cast<std::byte*>(to);
    const auto* in = static_cast<const std::byte*>(from);
    const std::size_t head = (64 - reinterpret_cast<std::uintptr_t>(out) % 64) % 64;
    std::memcpy(out, in, head);
    out += head;
    in += head;
    size -= head;
    for (; size >= 64; size -= 64, out += 64, in += 64) {
      for (std::size_t i = 0; i < 64; i += 16) {
        const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i));
        _mm_stream_si128(reinterpret_cast<__m128i*>(out + i), x);
      }
    }
    std::memcpy(out, in, size);
    return;
  }
#endif
  (void)streaming;
  std::memcpy(to, from, size);
}

// Makes streamed bytes visible to whoever sees what this thread stores next.
inline void finish_streaming(bool streaming) noexcept {
#if defined(__SSE2__)
  if (streaming) _mm_sfence();
#endif
  (void)streaming;
}

// Copies elements between memory that is the same or does not overlap; large blocks past the cache.
template <class T>
void copy_large(T* to, const void* from, std::size_t count) noexcept {
  if (to == from) return;
  const bool streaming = count * sizeof(T) >= streaming_threshold;
  copy_bytes(to, from, count * sizeof(T), streaming);
  finish_streaming(streaming);
}

}  // namespace rondel::detail
