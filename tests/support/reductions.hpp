#pragma once

// Reductions of a user's own.
namespace test {

struct user_min {
  template <class T>
  T operator()(T a, T b) const {
    return b < a ? b : a;
  }
};

// Associative, not commutative.
struct keep_first {
  template <class T>
  T operator()(T a, T) const {
    return a;
  }
};

}  // namespace test
