#pragma once
#include <rondel/core/device_span.hpp>
#include <rondel/core/error.hpp>
#include <rondel/device/array.hpp>
#include <rondel/device/concepts.hpp>
#include <rondel/device/dlpack_abi.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace rondel {

class host_device;

/// What DLPack calls the memory of device `D`: a specialisation per device, and none for a device
/// whose memory cannot be lent.
///
/// - `id(d)`: the name of what `d` allocates.
/// - `takes(d, id)`: whether kernels of `d` may use memory that is called `id`.
template <class D>
struct dlpack_memory;

/// The host takes any memory that is the host's, pinned or not.
template <>
struct dlpack_memory<host_device> {
  /// Always `cpu:0`.
  [[nodiscard]] static constexpr dlpack::device id(const host_device&) noexcept {
    return {dlpack::device_kind::cpu, 0};
  }
  /// Whether it is host memory.
  [[nodiscard]] static constexpr bool takes(const host_device&, dlpack::device id) noexcept {
    return id.device_type == dlpack::device_kind::cpu ||
           id.device_type == dlpack::device_kind::cuda_host ||
           id.device_type == dlpack::device_kind::rocm_host;
  }
};

/// A device whose memory DLPack has a name for.
template <class D>
concept lending_device = device<D> && requires(const D& d, dlpack::device id) {
  { dlpack_memory<D>::id(d) } -> std::same_as<dlpack::device>;
  { dlpack_memory<D>::takes(d, id) } -> std::same_as<bool>;
};

namespace detail {

[[nodiscard]] inline std::string tuple_text(std::span<const std::int64_t> values) {
  std::string text = "(";
  for (std::size_t i = 0; i < values.size(); ++i) text += concat(i == 0 ? "" : ", ", values[i]);
  return text + ")";
}

// Writes the strides of compact rows, and returns the number of elements. As elsewhere an empty
// dimension counts as 1 in the strides. Throws if an extent is negative, or if elements of
// `element_bytes` are more than an address space.
inline std::size_t compact_strides(std::span<const std::int64_t> shape,
                                   std::span<std::int64_t> strides, std::size_t element_bytes,
                                   const char* who, source_location where) {
  const auto most = std::numeric_limits<std::int64_t>::max() /
                    static_cast<std::int64_t>(element_bytes == 0 ? 1 : element_bytes);
  std::int64_t product = 1;
  bool empty = false;
  for (std::size_t i = shape.size(); i-- > 0;) {
    if (shape[i] < 0) {
      throw invalid_argument(concat(who, ": the shape is ", tuple_text(shape), ", extent ", i,
                                    " must not be negative"),
                             where);
    }
    strides[i] = product;
    if (shape[i] == 0) {
      empty = true;
    } else if (product > most / shape[i]) {
      throw invalid_argument(concat(who, ": ", tuple_text(shape), " elements of ", element_bytes,
                                    " bytes are more than an address space"),
                             where);
    } else {
      product *= shape[i];
    }
  }
  return empty ? 0 : static_cast<std::size_t>(product);
}

}  // namespace detail

/// A tensor in the memory of another library, lent through DLPack; made by `from_dlpack`.
///
/// Its death ends the loan: the lender's deleter is called, once, at once, on the thread where it
/// dies. All work that uses the memory must have passed by then. It is the lender's, so it does not
/// count in the memory of the device. One that was moved from has no elements.
class borrowed_tensor {
 public:
  /// As `from_dlpack`.
  template <lending_device D, dlpack::managed M>
  borrowed_tensor(const D& device, M* lent, source_location where = source_location::current())
      : loan_(lent, [](void* tensor) { dlpack::end_loan{}(static_cast<M*>(tensor)); }) {
    if (lent == nullptr) throw invalid_argument("from_dlpack: the tensor is null", where);
    if constexpr (dlpack::managed_with_flags<M>) {
      check_version(lent->version.major, lent->version.minor, where);
      read_only_ = (lent->flags & dlpack::flag_read_only) != 0;
    }
    const auto& view = lent->dl_tensor;
    type_ = {static_cast<dlpack::type_code>(view.dtype.code), view.dtype.bits, view.dtype.lanes};
    device_ = {static_cast<dlpack::device_kind>(view.device.device_type), view.device.device_id};
    if (!dlpack_memory<D>::takes(device, device_)) {
      throw invalid_argument(concat("from_dlpack: the tensor is in memory of ",
                                    dlpack::to_string(device_), ", which a device of ",
                                    dlpack::to_string(dlpack_memory<D>::id(device)), " cannot use"),
                             where);
    }
    take_layout(view.ndim, view.shape, view.strides, where);
    if (size_ != 0 && view.data == nullptr) {
      throw invalid_argument(
          concat("from_dlpack: the tensor has ", size_, " elements and no memory"), where);
    }
    if (view.data != nullptr) data_ = static_cast<std::byte*>(view.data) + view.byte_offset;
  }

  borrowed_tensor(borrowed_tensor&& other) noexcept { swap(other); }
  borrowed_tensor& operator=(borrowed_tensor&& other) noexcept {
    borrowed_tensor(std::move(other)).swap(*this);
    return *this;
  }
  ~borrowed_tensor() = default;

  /// Number of dimensions.
  [[nodiscard]] std::size_t rank() const noexcept { return layout_.size() / 2; }
  /// The extents.
  [[nodiscard]] std::span<const std::int64_t> shape() const noexcept {
    return std::span(layout_).first(rank());
  }
  /// The distances between neighbours of each dimension, in elements; may be 0 or negative.
  [[nodiscard]] std::span<const std::int64_t> strides() const noexcept {
    return std::span(layout_).last(rank());
  }
  /// Number of elements.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Type of the elements; `dlpack::element_type` says which of rondel's it is.
  [[nodiscard]] dlpack::data_type type() const noexcept { return type_; }
  /// Whose memory it is.
  [[nodiscard]] dlpack::device device() const noexcept { return device_; }
  /// Whether only const elements are to be had.
  [[nodiscard]] bool read_only() const noexcept { return read_only_; }
  /// Whether the elements are compact rows.
  [[nodiscard]] bool contiguous() const noexcept { return contiguous_; }

  /// Address of the element whose indices are all 0, for kernels only: what the strides count
  /// from. Throws `invalid_argument` if `T` is not the type of the elements, is not const though
  /// they are read-only, or needs another alignment.
  template <class T>
  requires dlpack::exchangeable<std::remove_const_t<T>>
  [[nodiscard]] T* data(source_location where = source_location::current()) const {
    constexpr auto asked = dlpack::type_of<std::remove_const_t<T>>;
    if (type_ != asked) {
      throw invalid_argument(concat("borrowed_tensor: the elements are ", dlpack::to_string(type_),
                                    ", not ", dlpack::to_string(asked)),
                             where);
    }
    if (read_only_ && !std::is_const_v<T>) {
      throw invalid_argument(concat("borrowed_tensor: the tensor is read-only, ask for const ",
                                    dlpack::to_string(asked)),
                             where);
    }
    const auto beyond = reinterpret_cast<std::uintptr_t>(data_) % alignof(T);
    if (beyond != 0 && size_ != 0) {
      throw invalid_argument(
          concat("borrowed_tensor: the elements start ", beyond, " bytes after a multiple of ",
                 alignof(T), ", where ", dlpack::to_string(asked), " cannot be read"),
          where);
    }
    return static_cast<T*>(data_);
  }

  /// All elements, row by row. Throws `invalid_argument` as `data` does, and if they are not
  /// contiguous.
  template <class T>
  requires dlpack::exchangeable<std::remove_const_t<T>>
  [[nodiscard]] device_span<T> span(source_location where = source_location::current()) const {
    T* const first = data<T>(where);
    if (!contiguous_) {
      throw invalid_argument(
          concat("borrowed_tensor: a tensor of shape ", detail::tuple_text(shape()),
                 " and strides ", detail::tuple_text(strides()),
                 " is not contiguous; use data() and the strides, or have the "
                 "lender copy it"),
          where);
    }
    return {first, size_};
  }

 private:
  static void check_version(std::uint32_t major, std::uint32_t minor, source_location where) {
    if (major == dlpack::version.major) return;
    throw invalid_argument(concat("from_dlpack: the tensor is of DLPack ", major, ".", minor,
                                  ", expected ", dlpack::version.major, ".x"),
                           where);
  }

  void take_layout(std::int32_t ndim, const std::int64_t* lent_shape,
                   const std::int64_t* lent_strides, source_location where) {
    if (ndim < 0 || (ndim > 0 && lent_shape == nullptr)) {
      throw invalid_argument(concat("from_dlpack: the tensor has ", ndim, " dimensions and ",
                                    lent_shape == nullptr ? "no" : "a", " shape"),
                             where);
    }
    const auto rank = static_cast<std::size_t>(ndim);
    layout_.resize(2 * rank);
    const auto shape = std::span(layout_).first(rank), strides = std::span(layout_).last(rank);
    for (std::size_t i = 0; i < rank; ++i) shape[i] = lent_shape[i];
    const auto bytes = (std::size_t{type_.bits} * type_.lanes + 7) / 8;
    size_ = detail::compact_strides(shape, strides, bytes, "from_dlpack", where);
    if (lent_strides == nullptr) return;
    for (std::size_t i = 0; i < rank; ++i) {
      if (shape[i] > 1 && size_ != 0 && lent_strides[i] != strides[i]) contiguous_ = false;
      strides[i] = lent_strides[i];
    }
  }

  void swap(borrowed_tensor& other) noexcept {
    std::swap(loan_, other.loan_);
    std::swap(data_, other.data_);
    std::swap(type_, other.type_);
    std::swap(device_, other.device_);
    std::swap(read_only_, other.read_only_);
    std::swap(contiguous_, other.contiguous_);
    std::swap(size_, other.size_);
    std::swap(layout_, other.layout_);
  }

  std::unique_ptr<void, void (*)(void*)> loan_{nullptr, [](void*) {}};
  void* data_ = nullptr;
  dlpack::data_type type_{};
  dlpack::device device_{};
  bool read_only_ = false;
  bool contiguous_ = true;
  std::size_t size_ = 0;
  std::vector<std::int64_t> layout_;  // the shape, then the strides
};

/// Borrows `tensor`, which kernels of `device` use in place: nothing is copied.
///
/// The loan is taken also if this throws, and ended before the exception is seen. A tensor without
/// flags counts as writable, and strides of null mean compact rows. When the memory
/// holds its values is the lender's word; on the host, at once.
/// Throws `invalid_argument` if `tensor` is null, of another major version, in memory that
/// `device` cannot use, or malformed: without shape or memory, with a negative extent, or larger
/// than an address space.
template <dlpack::managed M, lending_device D>
[[nodiscard]] borrowed_tensor from_dlpack(const D& device, M* tensor,
                                          source_location where = source_location::current()) {
  return {device, tensor, where};
}

/// Lends the elements of `span`, in memory of `device`, as a tensor of compact rows.
///
/// `keep_alive` owns the memory, and whatever else must outlive the loan; the tensor shares it
/// until its deleter is called, which may happen on any thread. Without a `shape` the tensor has
/// one dimension. Const elements make it read-only, which a structure without flags cannot tell, so
/// that is refused by the compiler. Work that writes the elements must have passed before a
/// borrower reads them.
/// Throws `invalid_argument` if `keep_alive` is null or the shape has another number of elements.
template <dlpack::managed M = dlpack::managed_tensor_versioned, class T, lending_device D>
requires dlpack::exchangeable<std::remove_const_t<T>> &&
    (!std::is_const_v<T> || dlpack::managed_with_flags<M>)
        [[nodiscard]] dlpack::managed_ptr<M> to_dlpack(
            const D& device, device_span<T> span, std::shared_ptr<const void> keep_alive,
            std::optional<std::span<const std::int64_t>> shape = std::nullopt,
            source_location where = source_location::current()) {
  struct exported {
    M managed{};
    std::vector<std::int64_t> layout;
    std::shared_ptr<const void> keep_alive;
  };
  if (keep_alive == nullptr) {
    throw invalid_argument("to_dlpack: keep_alive is null, expected the owner of the elements",
                           where);
  }
  const auto length = static_cast<std::int64_t>(span.size());
  const auto extents = shape.value_or(std::span(&length, 1));
  auto out = std::make_unique<exported>();
  out->layout.resize(2 * extents.size());
  const auto shape_out = std::span(out->layout).first(extents.size());
  const auto strides_out = std::span(out->layout).last(extents.size());
  const auto size = detail::compact_strides(extents, strides_out, sizeof(T), "to_dlpack", where);
  if (size != span.size()) {
    throw invalid_argument(concat("to_dlpack: shape ", detail::tuple_text(extents), " has ", size,
                                  " elements, the memory ", span.size()),
                           where);
  }
  for (std::size_t i = 0; i < extents.size(); ++i) shape_out[i] = extents[i];
  out->keep_alive = std::move(keep_alive);

  M& managed = out->managed;
  auto& tensor = managed.dl_tensor;
  const auto id = dlpack_memory<D>::id(device);
  constexpr auto type = dlpack::type_of<std::remove_const_t<T>>;
  tensor.data = size == 0 ? nullptr : const_cast<std::remove_const_t<T>*>(span.data());
  tensor.device.device_type = static_cast<decltype(tensor.device.device_type)>(id.device_type);
  tensor.device.device_id = id.device_id;
  tensor.ndim = static_cast<std::int32_t>(extents.size());
  tensor.dtype.code = static_cast<decltype(tensor.dtype.code)>(type.code);
  tensor.dtype.bits = type.bits;
  tensor.dtype.lanes = type.lanes;
  tensor.shape = shape_out.data();
  tensor.strides = strides_out.data();
  managed.deleter = [](M* self) { delete static_cast<exported*>(self->manager_ctx); };
  managed.manager_ctx = out.get();
  if constexpr (dlpack::managed_with_flags<M>) {
    managed.version.major = dlpack::version.major;
    managed.version.minor = dlpack::version.minor;
    managed.flags = std::is_const_v<T> ? dlpack::flag_read_only : 0;
  }
  return dlpack::managed_ptr<M>(&out.release()->managed);
}

/// Lends `array` for good: its memory moves into the tensor, and the deleter frees it.
///
/// `keep_alive` may own what the memory needs, such as the stream that it is freed on; it dies
/// after the memory. Otherwise as the overload of a span; an array that is refused stays as it was.
template <dlpack::managed M = dlpack::managed_tensor_versioned, dlpack::exchangeable T,
          lending_device D>
[[nodiscard]] dlpack::managed_ptr<M> to_dlpack(
    const D& device, device_array<T, D>&& array,
    std::optional<std::span<const std::int64_t>> shape = std::nullopt,
    std::shared_ptr<const void> keep_alive = nullptr,
    source_location where = source_location::current()) {
  struct owner {
    std::shared_ptr<const void> keep_alive;
    device_array<T, D> array;
  };
  const auto kept = std::make_shared<owner>();
  auto out = to_dlpack<M>(device, array.span(), kept, shape, where);
  kept->keep_alive = std::move(keep_alive);
  kept->array = std::move(array);
  return out;
}

}  // namespace rondel
