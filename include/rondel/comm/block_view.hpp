#pragma once
#include <rondel/comm/blocks.hpp>

#include <concepts>
#include <cstddef>

namespace rondel::detail {

// Block sizes of whatever type it has.
class block_view {
 public:
  block_view() = default;
  // The first condition keeps the second from asking about this class itself.
  template <class Blocks>
  requires(!std::same_as<Blocks, block_view> &&
           block_sizes<Blocks>) explicit block_view(const Blocks& blocks) noexcept
      : blocks_(&blocks),
        size_([](const void* b, int i) { return static_cast<const Blocks*>(b)->size(i); }),
        offset_([](const void* b, int i) { return static_cast<const Blocks*>(b)->offset(i); }) {}

  [[nodiscard]] std::size_t size(int i) const { return size_(blocks_, i); }
  [[nodiscard]] std::size_t offset(int i) const { return offset_(blocks_, i); }

 private:
  const void* blocks_ = nullptr;
  std::size_t (*size_)(const void*, int) = nullptr;
  std::size_t (*offset_)(const void*, int) = nullptr;
};

}  // namespace rondel::detail
