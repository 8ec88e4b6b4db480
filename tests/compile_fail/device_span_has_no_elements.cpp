// expect: (no match for 'operator\[\]'|does not provide a subscript operator)
#include <rondel/core/device_span.hpp>

float first(rondel::device_span<float> x) {
#ifdef RONDEL_MUST_FAIL
  return x[0];
#endif
  return static_cast<float>(x.size());
}
