#include "model.hpp"

#include <rondel/device/host.hpp>

#include "support.hpp"

#include <vector>

#include <doctest/doctest.h>

using namespace train_gpt;

namespace {

constexpr gpt_config tiny{.layers = 2, .heads = 2, .width = 8, .context = 6, .vocabulary = 11};

struct fixture {
  rondel::host_device device{};
  rondel::host_stream stream = device.make_stream("compute");
  gpt<double, rondel::host_device> model{device, stream, tiny, 3};
  rondel::device_array<std::int32_t, rondel::host_device> tokens{device, stream, 3 * 7};
  rondel::device_array<double, rondel::host_device> loss{device, stream, 1};
  batch_shape shape{.batch = 3, .length = 6};
  double scale = 1.0 / 18;

  fixture() {
    test::upload(stream, model.parameters(), test::hashed_parameters<double>(model.layout()));
    test::upload(stream, tokens.span(), test::hashed_tokens(21, 99, tiny.vocabulary));
  }

  void reset_loss() { test::upload(stream, loss.span(), std::vector<double>{0}); }

  double value() {
    reset_loss();
    model.forward(stream, tokens.span(), shape);
    model.add_loss(stream, tokens.span(), shape, scale, loss.span());
    return test::download(stream, loss.span())[0];
  }

  std::vector<double> gradients(auto&& ready) {
    model.zero_gradients(stream);
    reset_loss();
    model.forward(stream, tokens.span(), shape);
    model.backward(stream, tokens.span(), shape, scale, loss.span(), ready);
    return test::download(stream, model.gradients());
  }
};

}  // namespace

TEST_CASE("the gradient of every parameter tensor agrees with central differences") {
  fixture f;
  const auto analytic = f.gradients([](std::size_t) {});
  const double from_backward = test::download(f.stream, f.loss.span())[0];
  CHECK(from_backward == doctest::Approx(f.value()).epsilon(1e-13));
  // Differences need the parameters where they can be changed; the stream is immediate.
  double* parameters = f.model.parameters().data();
  for (const parameter_tensor& t : f.model.layout().tensors()) {
    CAPTURE(t.name);
    const double error = test::gradient_error(parameters + t.offset, analytic.data() + t.offset,
                                              t.size(), 24, [&] { return f.value(); });
    CHECK(error < 1e-6);
    bool moves = false;
    for (std::size_t i = 0; i < t.size(); ++i) moves = moves || analytic[t.offset + i] != 0;
    CHECK(moves);
  }
}

TEST_CASE("backward announces gradients only once they are final") {
  fixture f;
  const auto final_gradients = f.gradients([](std::size_t) {});
  std::size_t last = 0;
  f.gradients([&](std::size_t count) {
    CHECK(count > last);
    const auto now = test::download(f.stream, f.model.gradients());
    for (std::size_t i = last; i < count; ++i) CHECK(now[i] == final_gradients[i]);
    last = count;
  });
  CHECK(last == f.model.layout().size());
}

TEST_CASE("backward announces gradients after each half of a block") {
  fixture f;
  std::vector<std::size_t> announced;
  f.gradients([&](std::size_t count) { announced.push_back(count); });
  const std::size_t c = tiny.width;
  const std::size_t mlp = 2 * 4 * c * c + 5 * c + 2 * c;
  const std::size_t attention = 4 * c * c + 4 * c + 2 * c;
  std::vector<std::size_t> expected = {tiny.vocabulary * c + 2 * c};
  for (std::size_t l = 0; l < tiny.layers; ++l) {
    expected.push_back(expected.back() + mlp);
    expected.push_back(expected.back() + attention);
  }
  expected.push_back(expected.back() + (tiny.context + tiny.vocabulary) * c);
  CHECK(announced == expected);
}

TEST_CASE("gradients add up over micro-batches") {
  fixture f;
  const auto once = f.gradients([](std::size_t) {});
  f.model.forward(f.stream, f.tokens.span(), f.shape);
  f.model.backward(f.stream, f.tokens.span(), f.shape, f.scale, f.loss.span(), [](std::size_t) {});
  const auto twice = test::download(f.stream, f.model.gradients());
  for (std::size_t i = 0; i < once.size(); ++i) {
    CHECK(twice[i] == doctest::Approx(2 * once[i]).epsilon(1e-9));
  }
}

TEST_CASE("the parameter layout is dense, in the order of the backward pass") {
  const parameter_layout layout(tiny);
  std::size_t next = 0;
  for (const parameter_tensor& t : layout.tensors()) {
    CHECK(t.offset == next);
    next += t.size();
    CHECK(t.decay == (t.rows > 1));
  }
  CHECK(next == layout.size());
  const std::size_t c = tiny.width;
  const std::size_t block = 12 * c * c + 13 * c;
  CHECK(layout.size() == tiny.layers * block + 2 * tiny.vocabulary * c + tiny.context * c + 2 * c);
  CHECK(layout.block(1, block_part::qkv).name == "blocks.1.qkv.weight");
  CHECK(layout.block(0, block_part::norm1_bias).name == "blocks.0.norm1.bias");
  CHECK(layout.block(0, block_part::down).offset > layout.block(1, block_part::norm1_bias).offset);

  std::size_t covered = 0;
  for (const parameter_range& r : layout.ranges()) {
    CHECK(r.offset == covered);
    covered += r.count;
  }
  CHECK(covered == layout.size());
}

TEST_CASE("a shorter batch of shorter sequences gives the same logits") {
  fixture f;
  f.model.forward(f.stream, f.tokens.span(), f.shape);
  const auto all = test::download(f.stream, f.model.logits().first(18 * tiny.vocabulary));
  const auto ids = test::download(f.stream, f.tokens.span());
  const std::vector<std::int32_t> start(ids.begin() + 7, ids.begin() + 7 + 5);
  rondel::device_array<std::int32_t, rondel::host_device> one(f.device, f.stream, 5);
  test::upload(f.stream, one.span(), start);
  f.model.forward(f.stream, one.span(), {.batch = 1, .length = 4});
  const auto part = test::download(f.stream, f.model.logits().first(4 * tiny.vocabulary));
  for (std::size_t i = 0; i < part.size(); ++i) {
    CHECK(part[i] == doctest::Approx(all[6 * tiny.vocabulary + i]).epsilon(1e-12));
  }
}
