#pragma once
#include <rondel/core/error.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace rondel {

// The formatter tears `noexcept ->` from its expression.
// clang-format off
/// How a buffer is cut into one contiguous block per rank, in rank order, without gaps.
///
/// With `n = b.ranks()`, block `i` of `[0, n)` is the elements
/// `[b.offset(i), b.offset(i) + b.size(i))`, and `b.total() == b.offset(n)`. `b.layout()` is
/// equal on two ranks if they cut alike; 0 means that `total()` says it all.
template <class B>
concept block_sizes = std::copyable<B> && requires(const B& b, int i) {
  { b.ranks() } noexcept -> std::same_as<int>;
  { b.size(i) } noexcept -> std::same_as<std::size_t>;
  { b.offset(i) } noexcept -> std::same_as<std::size_t>;
  { b.total() } noexcept -> std::same_as<std::size_t>;
  { b.layout() } noexcept -> std::same_as<std::uint64_t>;
};
// clang-format on

/// Blocks of one size.
class even_blocks {
 public:
  /// `ranks` blocks of `size` elements.
  constexpr even_blocks(std::size_t size, int ranks) noexcept : size_(size), ranks_(ranks) {}

  /// Number of blocks.
  [[nodiscard]] constexpr int ranks() const noexcept { return ranks_; }
  /// Elements of a block.
  [[nodiscard]] constexpr std::size_t size(int) const noexcept { return size_; }
  /// First element of block `i`.
  [[nodiscard]] constexpr std::size_t offset(int i) const noexcept {
    return size_ * static_cast<std::size_t>(i);
  }
  /// Elements of all blocks.
  [[nodiscard]] constexpr std::size_t total() const noexcept { return offset(ranks_); }
  /// 0: the total says it all.
  [[nodiscard]] constexpr std::uint64_t layout() const noexcept { return 0; }

 private:
  std::size_t size_;
  int ranks_;
};

/// Blocks that differ by at most one element: the first `total % ranks` have one more.
class balanced_blocks {
 public:
  /// `total` elements cut for `ranks` ranks.
  constexpr balanced_blocks(std::size_t total, int ranks) noexcept
      : total_(total),
        ranks_(ranks),
        size_(total / static_cast<std::size_t>(ranks)),
        larger_(total % static_cast<std::size_t>(ranks)) {}

  /// Number of blocks.
  [[nodiscard]] constexpr int ranks() const noexcept { return ranks_; }
  /// Elements of block `i`.
  [[nodiscard]] constexpr std::size_t size(int i) const noexcept {
    return size_ + (static_cast<std::size_t>(i) < larger_ ? 1 : 0);
  }
  /// First element of block `i`.
  [[nodiscard]] constexpr std::size_t offset(int i) const noexcept {
    const auto index = static_cast<std::size_t>(i);
    return size_ * index + (index < larger_ ? index : larger_);
  }
  /// Elements of all blocks.
  [[nodiscard]] constexpr std::size_t total() const noexcept { return total_; }
  /// 0: the total says it all.
  [[nodiscard]] constexpr std::uint64_t layout() const noexcept { return 0; }

 private:
  std::size_t total_;
  int ranks_;
  std::size_t size_, larger_;
};

/// Blocks of any sizes, zero included.
class uneven_blocks {
 public:
  /// Block `i` has `sizes[i]` elements. Throws `invalid_argument` if their sum overflows.
  explicit uneven_blocks(std::span<const std::size_t> sizes) {
    offsets_.reserve(sizes.size() + 1);
    offsets_.push_back(0);
    for (const std::size_t size : sizes) {
      if (size > SIZE_MAX - offsets_.back()) {
        throw invalid_argument("uneven_blocks: the sizes add up to more than an address space");
      }
      offsets_.push_back(offsets_.back() + size);
      layout_ = (layout_ ^ size) * 0x100000001b3U;
    }
    layout_ |= 1U;  // never 0, which would mean that the total says it all
  }

  /// Number of blocks.
  [[nodiscard]] int ranks() const noexcept { return static_cast<int>(offsets_.size()) - 1; }
  /// Elements of block `i`.
  [[nodiscard]] std::size_t size(int i) const noexcept { return offset(i + 1) - offset(i); }
  /// First element of block `i`.
  [[nodiscard]] std::size_t offset(int i) const noexcept {
    return offsets_[static_cast<std::size_t>(i)];
  }
  /// Elements of all blocks.
  [[nodiscard]] std::size_t total() const noexcept { return offsets_.back(); }
  /// A hash of the sizes, never 0.
  [[nodiscard]] std::uint64_t layout() const noexcept { return layout_; }

 private:
  std::vector<std::size_t> offsets_;
  std::uint64_t layout_ = 0xcbf29ce484222325U;
};

/// Elements of the largest block; 0 without blocks.
template <block_sizes Blocks>
[[nodiscard]] std::size_t largest_block(const Blocks& blocks) noexcept {
  std::size_t largest = 0;
  for (int r = 0; r < blocks.ranks(); ++r) {
    if (blocks.size(r) > largest) largest = blocks.size(r);
  }
  return largest;
}

static_assert(block_sizes<even_blocks> && block_sizes<balanced_blocks> &&
              block_sizes<uneven_blocks>);

}  // namespace rondel
