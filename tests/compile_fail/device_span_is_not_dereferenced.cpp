// expect: (no match for 'operator\*'|indirection requires pointer operand)
#include <rondel/core/device_span.hpp>

float first(rondel::device_span<float> x) {
#ifdef RONDEL_MUST_FAIL
  return *x;
#endif
  return static_cast<float>(x.size());
}
