// C functions with which scripts/check_dlpack.py lends tensors of Python libraries to rondel and
// back.
//
// A handle is a loan that rondel holds. A function that fails returns null (or false), and error()
// says why.
#include <rondel/core/text.hpp>
#include <rondel/device/array.hpp>
#include <rondel/device/dlpack.hpp>
#include <rondel/device/host.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace dlpack = rondel::dlpack;

namespace {

using handle = std::shared_ptr<const rondel::borrowed_tensor>;

std::string message, description;
rondel::host_device device;

template <class F>
auto guarded(const F& f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::exception& e) {
    message = e.what();
    return {};
  }
}

std::string list_text(std::span<const std::int64_t> values) {
  std::string text;
  for (const std::int64_t value : values) text += rondel::concat(text.empty() ? "" : ", ", value);
  return "[" + text + "]";
}

template <class T>
void double_elements(const rondel::borrowed_tensor& tensor) {
  auto stream = device.make_stream();
  stream.launch({.name = "double"}, [x = tensor.span<T>()] {
    for (std::size_t i = 0; i < x.size(); ++i) {
      if constexpr (std::is_constructible_v<float, T> && !std::is_arithmetic_v<T>) {
        x.data()[i] = T(2 * static_cast<float>(x.data()[i]));
      } else {
        x.data()[i] = static_cast<T>(2 * x.data()[i]);
      }
    }
  });
  stream.synchronize();
}

template <class M>
void* lend(const handle& tensor) {
  const auto type = dlpack::element_type(tensor->type());
  const auto as = [&]<class T>(T) -> void* {
    const auto shape = tensor->shape();
    if (!tensor->read_only()) {
      return rondel::to_dlpack<M>(device, tensor->span<T>(), tensor, shape).release();
    }
    if constexpr (dlpack::managed_with_flags<M>) {
      return rondel::to_dlpack<M>(device, tensor->span<const T>(), tensor, shape).release();
    }
    throw rondel::invalid_argument("a read-only tensor needs flags");
  };
  if (tensor->type() == dlpack::type_of<bool>) return as(bool{});
  if (!type) {
    throw rondel::invalid_argument("cannot lend " + dlpack::to_string(tensor->type()));
  }
  switch (*type) {
    case rondel::dtype::f64:
      return as(double{});
    case rondel::dtype::f32:
      return as(float{});
    case rondel::dtype::bf16:
      return as(rondel::bfloat16{});
    case rondel::dtype::f16:
      return as(rondel::float16{});
    case rondel::dtype::i64:
      return as(std::int64_t{});
    case rondel::dtype::i32:
      return as(std::int32_t{});
    case rondel::dtype::u8:
      return as(std::uint8_t{});
  }
  return nullptr;
}

// Memory of rondel's own: 0, 1, 2, ... in rows.
template <class M>
void* counted(std::int64_t rows, std::int64_t columns) {
  auto stream = device.make_stream();
  const std::vector<std::int64_t> shape{rows, columns};
  auto array = rondel::make_array<float>(device, stream, static_cast<std::size_t>(rows * columns));
  stream.launch({.name = "count"},
                [x = array.span()] { std::iota(x.data(), x.data() + x.size(), 0.0F); });
  stream.synchronize();
  return rondel::to_dlpack<M>(device, std::move(array), shape).release();
}

}  // namespace

extern "C" {

const char* error() { return message.c_str(); }

std::uint64_t live_bytes() { return device.memory().live; }

void* borrow(void* tensor, int versioned) {
  return guarded([&]() -> void* {
    auto lent =
        versioned != 0
            ? rondel::from_dlpack(device, static_cast<dlpack::managed_tensor_versioned*>(tensor))
            : rondel::from_dlpack(device, static_cast<dlpack::managed_tensor*>(tensor));
    return new handle(std::make_shared<const rondel::borrowed_tensor>(std::move(lent)));
  });
}

void give_back(void* tensor) { delete static_cast<handle*>(tensor); }

const char* describe(void* tensor) {
  const auto& lent = **static_cast<handle*>(tensor);
  description =
      rondel::concat(R"({"type": ")", dlpack::to_string(lent.type()), R"(", "device": ")",
                     dlpack::to_string(lent.device()), R"(", "shape": )", list_text(lent.shape()),
                     R"(, "strides": )", list_text(lent.strides()), R"(, "read_only": )",
                     lent.read_only(), R"(, "contiguous": )", lent.contiguous(), "}");
  return description.c_str();
}

std::uint64_t address_f64(void* tensor) {
  return guarded([&] {
    return reinterpret_cast<std::uint64_t>((*static_cast<handle*>(tensor))->data<const double>());
  });
}

bool double_all(void* tensor) {
  return guarded([&] {
    const auto& lent = **static_cast<handle*>(tensor);
    const auto type = dlpack::element_type(lent.type());
    if (!type) throw rondel::invalid_argument("cannot double " + dlpack::to_string(lent.type()));
    switch (*type) {
      case rondel::dtype::f64:
        double_elements<double>(lent);
        break;
      case rondel::dtype::f32:
        double_elements<float>(lent);
        break;
      case rondel::dtype::bf16:
        double_elements<rondel::bfloat16>(lent);
        break;
      case rondel::dtype::f16:
        double_elements<rondel::float16>(lent);
        break;
      case rondel::dtype::i64:
        double_elements<std::int64_t>(lent);
        break;
      case rondel::dtype::i32:
        double_elements<std::int32_t>(lent);
        break;
      case rondel::dtype::u8:
        double_elements<std::uint8_t>(lent);
        break;
    }
    return true;
  });
}

// The elements of a matrix by its strides: element (i, j) goes to out[i * columns + j].
bool read_matrix(void* tensor, double* out) {
  return guarded([&] {
    const auto& lent = **static_cast<handle*>(tensor);
    const auto* x = lent.data<const double>();
    for (std::int64_t i = 0; i < lent.shape()[0]; ++i) {
      for (std::int64_t j = 0; j < lent.shape()[1]; ++j) {
        *out++ = x[i * lent.strides()[0] + j * lent.strides()[1]];
      }
    }
    return true;
  });
}

void* lend_on(void* tensor, int versioned) {
  return guarded([&] {
    const auto& lent = *static_cast<handle*>(tensor);
    return versioned != 0 ? lend<dlpack::managed_tensor_versioned>(lent)
                          : lend<dlpack::managed_tensor>(lent);
  });
}

void* lend_counted(std::int64_t rows, std::int64_t columns, int versioned) {
  return guarded([&] {
    return versioned != 0 ? counted<dlpack::managed_tensor_versioned>(rows, columns)
                          : counted<dlpack::managed_tensor>(rows, columns);
  });
}

void end_loan(void* tensor, int versioned) {
  if (versioned != 0) {
    dlpack::end_loan{}(static_cast<dlpack::managed_tensor_versioned*>(tensor));
  } else {
    dlpack::end_loan{}(static_cast<dlpack::managed_tensor*>(tensor));
  }
}

}  // extern "C"
