#pragma once
#include <rondel/comm/blocks.hpp>
#include <rondel/core/dtype.hpp>
#include <rondel/core/reduction.hpp>
#include <rondel/core/text.hpp>

#include <concepts>
#include <string>
#include <string_view>

#include <nccl.h>

namespace rondel {

// 2.18 brings ncclCommSplit.
static_assert(NCCL_VERSION_CODE >= NCCL_VERSION(2, 18, 1), "rondel needs NCCL 2.18 or newer");

/// The version of the NCCL library that is loaded, coded as `NCCL_VERSION` codes it; it may be
/// another one than that of the header. 0 if it does not say.
[[nodiscard]] inline int nccl_version() noexcept {
  int version = 0;
  return ncclGetVersion(&version) == ncclSuccess ? version : 0;
}

namespace detail {

// "2.28.9"
[[nodiscard]] inline std::string nccl_version_text(int version) {
  return version < 10000 ? concat(version / 1000, ".", version / 100 % 10, ".", version % 100)
                         : concat(version / 10000, ".", version / 100 % 100, ".", version % 100);
}

// What a failed call says. `comm` may be null. Codes are not enumerated: later versions add some.
[[nodiscard]] inline std::string nccl_text(std::string_view call, ncclResult_t result,
                                           ncclComm_t comm) {
  const char* const last = ncclGetLastError(comm);
  std::string out =
      concat(call, ": ", ncclGetErrorString(result), " (", static_cast<int>(result), ")");
  if (last != nullptr && *last != 0) out += concat(": ", last);
  // The remote error is another rank's; the words here are of no use then.
  if (last != nullptr && std::string_view(last).find("Duplicate GPU") != std::string_view::npos) {
    out += concat("; several ranks on one GPU need NCCL 2.30 or newer, which this library (",
                  nccl_version_text(nccl_version()),
                  ") must be, with NCCL_MULTI_RANK_GPU_ENABLE=1 and NCCL_NVLS_ENABLE=0 in the "
                  "environment; else give each rank a GPU of its own");
  }
  return out;
}

template <element T>
inline constexpr ncclDataType_t nccl_type = [] {
  switch (dtype_of<T>) {
    case dtype::f64:
      return ncclFloat64;
    case dtype::f32:
      return ncclFloat32;
    case dtype::bf16:
      return ncclBfloat16;
    case dtype::f16:
      return ncclFloat16;
    case dtype::i64:
      return ncclInt64;
    case dtype::i32:
      return ncclInt32;
    case dtype::u8:
      return ncclUint8;
  }
  return ncclNumTypes;
}();

// Reductions that NCCL has and that mean the same there. Its average scales some types before it
// adds them, so a mean goes the generic way, as do reductions in rank order and the user's.
template <class Op>
inline constexpr ncclRedOp_t nccl_op = ncclNumOps;
template <>
inline constexpr ncclRedOp_t nccl_op<sum> = ncclSum;
template <>
inline constexpr ncclRedOp_t nccl_op<max> = ncclMax;
template <>
inline constexpr ncclRedOp_t nccl_op<min> = ncclMin;

template <class Op>
concept nccl_reduction = (nccl_op<Op> != ncclNumOps);

// NCCL's collectives take equal blocks.
template <class Blocks>
concept nccl_blocks = std::same_as<Blocks, even_blocks>;

// Whether the loaded library has what came with `version` and the header knows it.
[[nodiscard]] inline bool nccl_has(int version) noexcept {
  return NCCL_VERSION_CODE >= version && nccl_version() >= version;
}

// Of ncclAlltoAll, ncclGather and ncclScatter.
inline constexpr int nccl_with_all_to_all = NCCL_VERSION(2, 28, 3);

}  // namespace detail
}  // namespace rondel
